-- How fast models may be called: limits, and what was used of them.

CREATE TABLE ai_rate_limits (
    id                   uuid PRIMARY KEY,
    organization_id      uuid NOT NULL REFERENCES organizations (id),
    name                 text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 64),
    -- which calls it is for; NULL: any
    user_id              uuid REFERENCES users (id) ON DELETE CASCADE,
    provider             text CHECK (length(provider) <= 64),
    -- a pattern, where * stands for any characters
    model                text CHECK (length(model) <= 300),
    -- true: each user has the whole of it; false: they share it
    per_user             boolean NOT NULL DEFAULT false,
    requests_per_minute  bigint CHECK (requests_per_minute >= 0),
    tokens_per_minute    bigint CHECK (tokens_per_minute >= 0),
    concurrency          bigint CHECK (concurrency >= 0),
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name),
    CHECK (num_nonnulls(requests_per_minute, tokens_per_minute, concurrency) > 0)
);

-- What was used: one row per limit, or per limit and user. Read, decided and written by the transactions that take holds; given back
-- by those that settle. Its window is 13 slots of five seconds, a ring by slot number: what is in it covers every minute that ends now.
CREATE TABLE ai_rate_counters (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id  uuid NOT NULL,
    limit_id         uuid NOT NULL,
    -- the user's id, or the limit's where all share it
    subject_id       uuid NOT NULL,
    -- calls under way
    open             bigint NOT NULL DEFAULT 0 CHECK (open >= 0),
    -- the newest slot: seconds since 1970 / 5
    slot             bigint NOT NULL DEFAULT 0,
    requests         bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[13]) CHECK (cardinality(requests) = 13),
    tokens           bigint[] NOT NULL DEFAULT array_fill(0::bigint, ARRAY[13]) CHECK (cardinality(tokens) = 13),
    UNIQUE (limit_id, subject_id)
) WITH (fillfactor = 50);

-- The counters that a call under way is in, ascending; the slot of each in which it was counted; the tokens that were counted for it.
ALTER TABLE ai_holds
    ADD COLUMN rate_counters bigint[],
    ADD COLUMN rate_slots bigint[],
    ADD COLUMN rate_tokens bigint;

CREATE TRIGGER ai_rate_limits_settings AFTER INSERT OR UPDATE OR DELETE ON ai_rate_limits
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
