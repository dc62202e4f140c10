-- What the lists of auditors are looked up by. Each index costs every call about 0.7 µs of the database's CPU.
CREATE INDEX ai_interceptions_model ON ai_interceptions (organization_id, model, started_at DESC, id DESC);
CREATE INDEX ai_interceptions_client ON ai_interceptions (organization_id, client, started_at DESC, id DESC);
CREATE INDEX ai_interceptions_provider ON ai_interceptions (organization_id, provider_name, started_at DESC, id DESC);
CREATE INDEX ai_interceptions_policy ON ai_interceptions (organization_id, policy, started_at DESC, id DESC);
-- Refused calls hold nothing; a call's status changes and so cannot be what the index is limited by.
CREATE INDEX ai_interceptions_refused ON ai_interceptions (organization_id, started_at DESC, id DESC) WHERE hold = 0;
CREATE INDEX ai_ledger_cost ON ai_ledger (organization_id, cost, interception_id);
-- Ids grow with time.
CREATE INDEX ai_tool_usages_tool ON ai_tool_usages (organization_id, tool, interception_id);

-- Words of prompts and answers, for the search; written behind the calls, in batches, by one server.
CREATE TABLE ai_texts (
    interception_id  uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    words            tsvector NOT NULL
);
CREATE INDEX ai_texts_words ON ai_texts USING gin (words);

-- What was spent, by day (UTC) and whatever one asks by; what is not in here yet is read from the ledger.
CREATE TABLE ai_spend (
    organization_id          uuid NOT NULL,
    day                      date NOT NULL,
    user_id                  uuid NOT NULL,
    provider                 text NOT NULL,
    model                    text NOT NULL,
    client                   text NOT NULL,
    -- the nil UUID: no task
    task_id                  uuid NOT NULL,
    calls                    bigint NOT NULL,
    input_tokens             bigint NOT NULL,
    cache_read_input_tokens  bigint NOT NULL,
    cache_write_5m_tokens    bigint NOT NULL,
    cache_write_1h_tokens    bigint NOT NULL,
    output_tokens            bigint NOT NULL,
    reasoning_tokens         bigint NOT NULL,
    web_searches             bigint NOT NULL,
    cost                     bigint NOT NULL,
    PRIMARY KEY (organization_id, day, user_id, provider, model, client, task_id)
);

-- How far each follower has read each chain.
CREATE TABLE audit_cursors (
    follower  text NOT NULL,
    chain     uuid NOT NULL,
    n         bigint NOT NULL CHECK (n >= 0),
    PRIMARY KEY (follower, chain)
);
