-- What of calls is kept, and for how long.

CREATE TABLE audit_rules (
    organization_id  uuid PRIMARY KEY REFERENCES organizations (id),
    content_mode     text NOT NULL DEFAULT 'full' CHECK (content_mode IN ('full', 'hashed', 'none')),
    -- NULL: for ever
    content_days     integer CHECK (content_days BETWEEN 1 AND 36500),
    record_days      integer CHECK (record_days BETWEEN 1 AND 36500),
    -- up to here the sweep has been: when a call began, and its id
    content_swept    timestamptz NOT NULL DEFAULT 'epoch',
    content_swept_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    record_swept     timestamptz NOT NULL DEFAULT 'epoch',
    record_swept_id  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    CHECK (record_days >= content_days)
);
CREATE TRIGGER audit_rules_settings AFTER INSERT OR UPDATE OF content_mode OR DELETE ON audit_rules
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();

-- NULL: from before modes were recorded, when everything was kept.
ALTER TABLE ai_interceptions ADD COLUMN content_mode text CHECK (content_mode IN ('full', 'hashed', 'none'));

-- What is held is never removed.
CREATE TABLE audit_legal_holds (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    kind             text NOT NULL CHECK (kind IN ('user', 'session', 'task')),
    -- an id
    subject          text NOT NULL CHECK (length(subject) <= 512),
    -- as people know it
    name             text NOT NULL,
    reason           text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    created_by       uuid NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, kind, subject)
);

-- What retention removed. The fact of each batch has the hash of its tombstones.
CREATE TABLE audit_tombstones (
    fact_id          uuid NOT NULL,
    n                integer NOT NULL,
    organization_id  uuid NOT NULL,
    what             text NOT NULL CHECK (what IN ('content', 'interception', 'ledger', 'attempt')),
    subject          text NOT NULL,
    -- of a ledger row: budgets are still the sum of all that was booked
    budget_ids       bigint[],
    cost             bigint,
    PRIMARY KEY (fact_id, n)
);
CREATE INDEX audit_tombstones_subject ON audit_tombstones (what, subject);

-- The day (UTC) on which a chunk was last used: one that no content within its time uses can go, and no body has to be read for it.
ALTER TABLE ai_chunks ADD COLUMN used_on date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date;
CREATE INDEX ai_chunks_used ON ai_chunks USING brin (used_on) WITH (pages_per_range = 16, autosummarize = on);
