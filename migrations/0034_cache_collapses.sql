-- Calls that found the prompt cache of their session lost, and where their request differs from the one before. What the requests say
-- there is read from the recorded content, and goes with it.
CREATE TABLE ai_cache_collapses (
    interception_id  uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    previous_id      uuid NOT NULL,
    cached_before    bigint NOT NULL,
    cached_now       bigint NOT NULL,
    -- NULL: the requests agree
    place            text,
    message          integer,
    byte_offset      bigint,
    previous_offset  bigint,
    at               timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ai_cache_collapses_newest ON ai_cache_collapses (organization_id, at);
