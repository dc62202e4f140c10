-- What rules about content found in calls, and decided about tools in them: where, of which class, by which rule. Never what it was.
CREATE TABLE ai_findings (
    -- an interception, or a call of an MCP server's tool
    call_id          uuid NOT NULL,
    -- written with the hold, with the settlement, or with the call of a tool
    phase            text NOT NULL CHECK (phase IN ('request', 'answer', 'tool')),
    n                integer NOT NULL CHECK (n >= 0),
    organization_id  uuid NOT NULL,
    place            text NOT NULL,
    path             text NOT NULL,
    -- a class of data, or the name of a tool
    subject          text NOT NULL,
    rule             text NOT NULL,
    effect           text NOT NULL CHECK (effect IN ('blocked', 'redacted', 'flagged', 'allowed')),
    count            integer NOT NULL CHECK (count > 0),
    at               timestamptz NOT NULL,
    PRIMARY KEY (call_id, phase, n)
);
CREATE INDEX ai_findings_organization ON ai_findings (organization_id, at);
