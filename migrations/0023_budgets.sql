-- Budgets of users, groups, the organization, tasks and tokens, per day, week, month or for good; and what they warned of.

-- A user's cap of a calendar month stays in ai_budget_caps: every call has that budget, and it costs no look-up of its own.
-- A soft one warns and refuses nothing.
ALTER TABLE ai_budget_caps ADD COLUMN hard boolean NOT NULL DEFAULT true;

-- All other budgets. A removed one keeps its row with no cap: set again within the same period it goes on counting.
CREATE TABLE ai_budget_rules (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    subject_kind     text NOT NULL CHECK (subject_kind IN ('user', 'group', 'organization', 'task', 'token')),
    -- the organization's id for 'organization'
    subject_id       uuid NOT NULL,
    period           text NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    -- billionths of a dollar per period; NULL: removed
    cap              bigint CHECK (cap >= 0),
    hard             boolean NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, subject_kind, subject_id, period),
    CHECK (NOT (subject_kind = 'user' AND period = 'month'))
);

-- The first day of the period that it is now (UTC, by this clock). Weeks begin on Monday (ISO 8601).
CREATE FUNCTION ai_budget_period(period text) RETURNS date LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE period WHEN 'total' THEN DATE '1970-01-01' ELSE date_trunc(period, now() AT TIME ZONE 'UTC')::date END
$$;

-- A row is a user's month, or a period of a rule.
ALTER TABLE ai_budgets
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN rule_id uuid REFERENCES ai_budget_rules (id),
    DROP CONSTRAINT ai_budgets_period_check,
    ADD CONSTRAINT ai_budgets_subject_check CHECK (
        num_nonnulls(user_id, rule_id) = 1 AND (user_id IS NULL OR extract(day FROM period) = 1)),
    ADD CONSTRAINT ai_budgets_rule_period UNIQUE (rule_id, period);

-- One row per budget and threshold in percent of the cap, when spent and held together first reached it. The same is an audit fact.
CREATE TABLE ai_budget_alerts (
    budget_id        bigint NOT NULL,
    threshold        smallint NOT NULL CHECK (threshold IN (50, 85, 100)),
    organization_id  uuid NOT NULL,
    cap              bigint NOT NULL,
    spent            bigint NOT NULL,
    held             bigint NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    number           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    PRIMARY KEY (budget_id, threshold)
);

CREATE TRIGGER ai_budget_rules_settings AFTER INSERT OR UPDATE OR DELETE ON ai_budget_rules
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE OR REPLACE TRIGGER groups_settings AFTER INSERT OR UPDATE OR DELETE ON groups
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE OR REPLACE TRIGGER group_members_settings AFTER INSERT OR UPDATE OR DELETE ON group_members
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
