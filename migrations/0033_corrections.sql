-- What re-rating found: the ledger row stays, and a correction says what its call costs by the book as it was then. Never changed and
-- never removed; n counts from 1 for each ledger row, and each begins where the one before ended.
CREATE TABLE ai_corrections (
    interception_id  uuid NOT NULL,
    attempt          integer NOT NULL,
    n                integer NOT NULL CHECK (n > 0),
    -- one run of re-rating
    run_id           uuid NOT NULL,
    organization_id  uuid NOT NULL,
    actor_id         uuid NOT NULL,
    user_id          uuid NOT NULL,
    -- those of the ledger row: the budgets of the time of the call
    budget_ids       bigint[] NOT NULL,
    provider         text NOT NULL,
    model            text NOT NULL,
    cost_before      bigint NOT NULL CHECK (cost_before >= 0),
    cost_after       bigint NOT NULL CHECK (cost_after >= 0),
    amount           bigint NOT NULL GENERATED ALWAYS AS (cost_after - cost_before) STORED,
    price_id         text NOT NULL,
    at               timestamptz NOT NULL,
    PRIMARY KEY (interception_id, attempt, n),
    CHECK (cost_before <> cost_after)
);
CREATE INDEX ai_corrections_organization ON ai_corrections (organization_id, at);

-- The ledger at what its calls cost now, corrections included. What was booked first is booked_cost.
CREATE VIEW ai_charges AS
SELECT l.interception_id, l.attempt, l.organization_id, l.user_id, l.budget_ids, l.provider, l.model, l.state, l.input_tokens,
       l.cache_read_input_tokens, l.cache_write_5m_tokens, l.cache_write_1h_tokens, l.output_tokens, l.reasoning_tokens, l.web_searches,
       l.ttl_unknown, l.service_tier, l.hold, l.overrun, l.price_id, l.settled_at, l.cost AS booked_cost,
       l.cost + coalesce((SELECT sum(c.amount) FROM ai_corrections c
                          WHERE c.interception_id = l.interception_id AND c.attempt = l.attempt), 0)::bigint AS cost
FROM ai_ledger l;
