-- The gateway: who may call which model through which provider, what it costs, what it did, and proof of all of it.

-- Providers --------------------------------------------------------------------------------------------------------------

CREATE TABLE ai_providers (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    -- the part of the path after /api/v2/ai-gateway/
    name             text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 32),
    display_name     text NOT NULL CHECK (length(display_name) <= 128),
    type             text NOT NULL CHECK (type IN ('anthropic', 'openai')),
    base_url         text NOT NULL CHECK (length(base_url) <= 2048),
    enabled          boolean NOT NULL DEFAULT true,
    -- loopback, private and link-local addresses are refused without it
    allow_private    boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name)
);

CREATE TABLE ai_provider_keys (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    provider_id      uuid NOT NULL REFERENCES ai_providers (id) ON DELETE CASCADE,
    -- keys are used in this order
    position         integer NOT NULL CHECK (position BETWEEN 1 AND 5),
    sealed           bytea NOT NULL,
    hint             text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (provider_id, position)
);

CREATE TABLE ai_model_policies (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    name             text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 64),
    -- '<provider>/<model>', where * stands for any run of characters
    models           text[] NOT NULL CHECK (cardinality(models) BETWEEN 1 AND 100),
    -- both empty: everybody
    roles            text[] NOT NULL CHECK (roles <@ ARRAY['owner', 'admin', 'auditor', 'member']),
    user_ids         uuid[] NOT NULL CHECK (cardinality(user_ids) <= 1000),
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name)
);

-- Prices -----------------------------------------------------------------------------------------------------------------

-- Every price that was ever in force here, by the hash of what it says: a ledger row names one, and it never changes.
CREATE TABLE ai_prices (
    id               text PRIMARY KEY,
    -- NULL: from the price book that the server was built with
    organization_id  uuid REFERENCES organizations (id),
    provider_type    text NOT NULL,
    model            text NOT NULL,
    valid_from       timestamptz NOT NULL,
    valid_to         timestamptz CHECK (valid_to > valid_from),
    price            jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ai_prices_custom ON ai_prices (organization_id, provider_type, model, valid_from) WHERE organization_id IS NOT NULL;

-- Budgets ----------------------------------------------------------------------------------------------------------------

CREATE TABLE ai_budget_caps (
    user_id          uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    -- billionths of a dollar per month
    cap              bigint NOT NULL CHECK (cap >= 0),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

-- One row per user and month (UTC, by the clock of the database). spent + held never passes the cap but by ledger rows with an overrun.
CREATE TABLE ai_budgets (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    user_id          uuid NOT NULL REFERENCES users (id),
    period           date NOT NULL CHECK (extract(day FROM period) = 1),
    spent            bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    held             bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    UNIQUE (user_id, period)
) WITH (fillfactor = 50);

-- What was done ----------------------------------------------------------------------------------------------------------

-- These tables grow by several rows with each call. They have no foreign keys: each costs a look-up and a lock on one and the same
-- organization's row per insert, and all ids come from the principal or from a row written before. Users with calls on record
-- cannot be removed: ai_budgets refers to them.

CREATE TABLE ai_interceptions (
    id                        uuid PRIMARY KEY,
    organization_id           uuid NOT NULL,
    initiator_id              uuid NOT NULL,
    token_id                  uuid,
    -- set when an agent acted for the initiator
    task_id                   uuid,
    task_step                 integer,
    replica_id                uuid NOT NULL,
    request_id                text NOT NULL,
    provider                  text NOT NULL,
    provider_name             text NOT NULL,
    protocol                  text NOT NULL,
    route                     text NOT NULL,
    model                     text NOT NULL,
    streamed                  boolean NOT NULL,
    client                    text NOT NULL,
    client_session_id         text,
    correlating_tool_call_id  text,
    thread_parent_id          uuid,
    thread_root_id            uuid,
    session_id                text NOT NULL
        GENERATED ALWAYS AS (coalesce(client_session_id, thread_root_id::text, id::text)) STORED,
    credential_hint           text,
    -- which rule let it pass, or refused it
    policy                    text NOT NULL,
    -- NULL: refused for want of a price, or before it was looked up
    price_id                  text,
    hold                      bigint NOT NULL CHECK (hold >= 0),
    request_hash              bytea NOT NULL,
    request_size              bigint NOT NULL,
    -- over the prompt and the tool results below
    prompt_hash               bytea NOT NULL,
    started_at                timestamptz NOT NULL DEFAULT now(),
    -- from here on known when it is settled
    ended_at                  timestamptz,
    status                    text NOT NULL DEFAULT 'open'
        CHECK (status IN ('open', 'completed', 'failed', 'cut', 'client_left', 'refused', 'unknown')),
    http_status               integer,
    error                     text,
    provider_response_id      text,
    stop_reason               text,
    CHECK ((status = 'open') = (ended_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX ai_interceptions_newest ON ai_interceptions (organization_id, started_at DESC, id DESC);
CREATE INDEX ai_interceptions_initiator ON ai_interceptions (initiator_id, started_at DESC, id DESC);
CREATE INDEX ai_interceptions_session ON ai_interceptions (organization_id, session_id, started_at);
CREATE INDEX ai_interceptions_task ON ai_interceptions (task_id, task_step) WHERE task_id IS NOT NULL;

-- Money taken from budgets by calls that are under way.
CREATE TABLE ai_holds (
    interception_id  uuid NOT NULL,
    attempt          integer NOT NULL,
    organization_id  uuid NOT NULL,
    -- ascending
    budget_ids       bigint[] NOT NULL,
    amount           bigint NOT NULL CHECK (amount >= 0),
    replica_id       uuid NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interception_id, attempt)
);

-- One row replaces each hold. Rows are never changed and never removed.
CREATE TABLE ai_ledger (
    interception_id            uuid NOT NULL,
    attempt                    integer NOT NULL,
    organization_id            uuid NOT NULL,
    user_id                    uuid NOT NULL,
    budget_ids                 bigint[] NOT NULL,
    provider                   text NOT NULL,
    model                      text NOT NULL,
    -- final: as the provider reported. estimated: the answer ended early, output counted here. unknown: a crash; all that was held.
    state                      text NOT NULL CHECK (state IN ('final', 'estimated', 'unknown')),
    input_tokens               bigint NOT NULL CHECK (input_tokens >= 0),
    cache_read_input_tokens    bigint NOT NULL CHECK (cache_read_input_tokens >= 0),
    cache_write_5m_tokens      bigint NOT NULL CHECK (cache_write_5m_tokens >= 0),
    cache_write_1h_tokens      bigint NOT NULL CHECK (cache_write_1h_tokens >= 0),
    output_tokens              bigint NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens           bigint NOT NULL CHECK (reasoning_tokens >= 0),
    web_searches               bigint NOT NULL CHECK (web_searches >= 0),
    ttl_unknown                boolean NOT NULL,
    hold                       bigint NOT NULL CHECK (hold >= 0),
    cost                       bigint NOT NULL CHECK (cost >= 0),
    -- the part of the cost above the hold
    overrun                    bigint NOT NULL GENERATED ALWAYS AS (greatest(cost - hold, 0)) STORED,
    price_id                   text NOT NULL,
    answer_hash                bytea NOT NULL,
    answer_size                bigint NOT NULL,
    -- over the tool calls that the answer asked for
    tools_hash                 bytea NOT NULL,
    settled_at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interception_id, attempt)
);
CREATE INDEX ai_ledger_user ON ai_ledger (user_id, settled_at);
CREATE INDEX ai_ledger_organization ON ai_ledger (organization_id, settled_at);

-- Content ----------------------------------------------------------------------------------------------------------------

-- Pieces of bodies, each stored once per organization. encoding 0: as they are, 1: zlib
CREATE TABLE ai_chunks (
    organization_id  uuid NOT NULL,
    hash             bytea NOT NULL,
    encoding         smallint NOT NULL CHECK (encoding IN (0, 1)),
    data             bytea NOT NULL,
    PRIMARY KEY (organization_id, hash)
);
ALTER TABLE ai_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE ai_contents (
    interception_id  uuid NOT NULL,
    part             text NOT NULL CHECK (part IN ('request', 'answer')),
    organization_id  uuid NOT NULL,
    state            text NOT NULL CHECK (state IN ('partial', 'complete')),
    content_type     text NOT NULL,
    size             bigint NOT NULL,
    -- one after the other, 32 bytes each
    chunks           bytea NOT NULL CHECK (length(chunks) % 32 = 0),
    PRIMARY KEY (interception_id, part)
);

CREATE TABLE ai_user_prompts (
    interception_id  uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    prompt           text NOT NULL
);

CREATE TABLE ai_tool_usages (
    interception_id        uuid NOT NULL,
    n                      integer NOT NULL,
    organization_id        uuid NOT NULL,
    provider_tool_call_id  text NOT NULL,
    tool                   text NOT NULL,
    input                  text NOT NULL,
    PRIMARY KEY (interception_id, n)
);
CREATE INDEX ai_tool_usages_call ON ai_tool_usages (organization_id, provider_tool_call_id);

-- What a later call of the same conversation told the model about a tool call.
CREATE TABLE ai_tool_results (
    interception_id        uuid NOT NULL,
    n                      integer NOT NULL,
    organization_id        uuid NOT NULL,
    provider_tool_call_id  text NOT NULL,
    result                 text NOT NULL,
    is_error               boolean NOT NULL,
    PRIMARY KEY (interception_id, n)
);
CREATE INDEX ai_tool_results_call ON ai_tool_results (organization_id, provider_tool_call_id);

-- Audit ------------------------------------------------------------------------------------------------------------------

-- Each server process links chains of its own, each within the transactions that write the rows: a row and its entry are there
-- together or not at all.
CREATE TABLE audit_chains (
    id          uuid PRIMARY KEY,
    replica_id  uuid NOT NULL,
    name        text NOT NULL CHECK (name IN ('calls', 'ledger', 'facts')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- up to here it is known to be on disk: the synchronous commit that answers wait for writes this
    flushed     bigint NOT NULL DEFAULT 0,
    -- up to here a checkpoint has signed it; only a hint
    signed      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- n counts from 1 without gaps, prev is the link of n - 1 (32 zero bytes at first).
CREATE TABLE audit_entries (
    chain    uuid NOT NULL,
    n        bigint NOT NULL CHECK (n > 0),
    prev     bytea NOT NULL CHECK (length(prev) = 32),
    -- over the canonical bytes of the row that it is about
    digest   bytea NOT NULL CHECK (length(digest) = 32),
    kind     text NOT NULL,
    subject  text NOT NULL,
    -- microseconds since 1970
    at       bigint NOT NULL,
    PRIMARY KEY (chain, n)
);
CREATE INDEX audit_entries_newest ON audit_entries (at, chain, n);

-- Facts that have no table of their own: what admins changed, what other parts of the server put on record.
CREATE TABLE audit_facts (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    actor_id         uuid,
    kind             text NOT NULL,
    subject          text NOT NULL,
    -- canonical JSON: the digest is over exactly this text
    body             text NOT NULL,
    at               timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_facts_newest ON audit_facts (organization_id, at DESC, id DESC);

CREATE TABLE audit_signing_keys (
    id          text PRIMARY KEY,
    public_key  bytea NOT NULL CHECK (length(public_key) = 32),
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- heads: chain → {n, link} of all chains that grew since the checkpoint before.
CREATE TABLE audit_checkpoints (
    number     bigint PRIMARY KEY CHECK (number > 0),
    -- the exact bytes that are signed
    body       bytea NOT NULL,
    key_id     text NOT NULL REFERENCES audit_signing_keys (id),
    signature  bytea NOT NULL CHECK (length(signature) = 64),
    at         timestamptz NOT NULL DEFAULT now()
);

-- Servers keep these in memory and look every second for a newer version.
CREATE TRIGGER ai_providers_settings AFTER INSERT OR UPDATE OR DELETE ON ai_providers
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE TRIGGER ai_provider_keys_settings AFTER INSERT OR UPDATE OR DELETE ON ai_provider_keys
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE TRIGGER ai_prices_settings AFTER INSERT OR UPDATE OR DELETE ON ai_prices
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE TRIGGER ai_model_policies_settings AFTER INSERT OR UPDATE OR DELETE ON ai_model_policies
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
