-- Routes: aliases of models, and what replicas tell each other about provider keys.

ALTER TABLE ai_providers DROP CONSTRAINT ai_providers_type_check;
ALTER TABLE ai_providers ADD CHECK (type IN ('anthropic', 'openai', 'azure', 'gemini', 'bedrock'));

-- Time-outs, pings, and what becomes of calls whose client leaves.
ALTER TABLE ai_providers ADD COLUMN settings jsonb NOT NULL DEFAULT '{}';

-- drained: the client left, and the rest was read for its usage.
ALTER TABLE ai_ledger DROP CONSTRAINT ai_ledger_state_check;
ALTER TABLE ai_ledger ADD CHECK (state IN ('final', 'estimated', 'drained', 'unknown'));

CREATE TABLE ai_model_routes (
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    -- what clients name as their model
    name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    -- one tier each, e.g. 'openai/gpt-5-mini*3,azure/gpt-5-mini'
    targets          text[] NOT NULL CHECK (cardinality(targets) BETWEEN 1 AND 10),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, name)
);
CREATE TRIGGER ai_model_routes_settings AFTER INSERT OR UPDATE OR DELETE ON ai_model_routes
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();

-- Keys that a provider told to slow down, or refused. Worth nothing after a crash, so it is not logged.
CREATE UNLOGGED TABLE ai_key_rests (
    organization_id  uuid NOT NULL,
    provider         text NOT NULL,
    hint             text NOT NULL,
    until            timestamptz NOT NULL,
    PRIMARY KEY (organization_id, provider, hint)
);

-- Attempts of calls that needed more than one; the ledger has the one that was paid for.
CREATE TABLE ai_attempts (
    interception_id  uuid NOT NULL,
    attempt          integer NOT NULL CHECK (attempt > 0),
    organization_id  uuid NOT NULL,
    provider         text NOT NULL,
    model            text NOT NULL,
    credential_hint  text NOT NULL,
    http_status      integer,
    error            text,
    -- milliseconds since the call's first attempt began
    began_ms         bigint NOT NULL,
    ended_ms         bigint NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interception_id, attempt)
);
