-- What happened to a workspace, for its owner: what builds did, and what the agent says of itself. Each log is bounded: 1 MiB, lines of
-- 1024 characters. Ids only grow within one log, so that they are cursors.
ALTER TABLE workspace_builds
    ADD COLUMN logs_length integer NOT NULL DEFAULT 0 CHECK (logs_length <= 1048576),
    ADD COLUMN logs_overflowed boolean NOT NULL DEFAULT false;
ALTER TABLE workspace_agents
    ADD COLUMN logs_length integer NOT NULL DEFAULT 0 CHECK (logs_length <= 1048576),
    ADD COLUMN logs_overflowed boolean NOT NULL DEFAULT false;

CREATE TABLE workspace_build_logs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id  uuid NOT NULL,
    owner_row        uuid NOT NULL REFERENCES workspace_builds (id) ON DELETE CASCADE,
    at               timestamptz NOT NULL,
    -- the server itself, or what it started
    source           text NOT NULL CHECK (source IN ('provisioner_daemon', 'provisioner')),
    level            text NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    stage            text NOT NULL CHECK (length(stage) <= 128),
    output           text NOT NULL CHECK (length(output) <= 1024)
);
CREATE INDEX workspace_build_logs_of ON workspace_build_logs (owner_row, id);

CREATE TABLE workspace_agent_logs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id  uuid NOT NULL,
    owner_row        uuid NOT NULL REFERENCES workspace_agents (id) ON DELETE CASCADE,
    at               timestamptz NOT NULL,
    source           text NOT NULL CHECK (source = 'agent'),
    level            text NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    stage            text NOT NULL CHECK (length(stage) <= 128),
    output           text NOT NULL CHECK (length(output) <= 1024)
);
CREATE INDEX workspace_agent_logs_of ON workspace_agent_logs (owner_row, id);
