-- Workspaces, the builds that move them, the jobs by which builds run, and the agents that report from inside.

CREATE TABLE workspaces (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    owner_id         uuid NOT NULL REFERENCES users (id),
    name             text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$' AND length(name) <= 64),
    -- the task it was made for; one workspace each
    task_id          uuid UNIQUE,
    -- a local workspace is state of one machine, in a numbered place there
    host             text NOT NULL CHECK (host <> ''),
    place            integer CHECK (place BETWEEN 1 AND 65535),
    limits           jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz,
    CHECK ((place IS NULL) = (deleted_at IS NOT NULL)),
    UNIQUE (host, place)
);
CREATE UNIQUE INDEX workspaces_name ON workspaces (organization_id, owner_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX workspaces_list ON workspaces (organization_id, id) WHERE deleted_at IS NULL;

-- Work for provisioners. A job goes to a worker that has all of its tags.
CREATE TABLE provisioner_jobs (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    type             text NOT NULL CHECK (type IN ('workspace_build')),
    tags             text[] NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    -- while it runs, its worker says so every second; a job that is silent for 5 s may be claimed again
    updated_at       timestamptz NOT NULL DEFAULT now(),
    completed_at     timestamptz,
    worker_id        uuid,
    attempts         integer NOT NULL DEFAULT 0,
    -- why it failed, for the workspace's owner
    error            text,
    CHECK (completed_at IS NULL OR started_at IS NOT NULL),
    CHECK (error IS NULL OR completed_at IS NOT NULL),
    status           text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN completed_at IS NOT NULL AND error IS NOT NULL THEN 'failed'
             WHEN completed_at IS NOT NULL THEN 'succeeded'
             WHEN started_at IS NOT NULL THEN 'running'
             ELSE 'pending' END) STORED
);
CREATE INDEX provisioner_jobs_open ON provisioner_jobs (created_at) WHERE completed_at IS NULL;

-- One attempt to move a workspace. That a number exists once is the guard against two at a time.
CREATE TABLE workspace_builds (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    workspace_id     uuid NOT NULL REFERENCES workspaces (id),
    number           integer NOT NULL CHECK (number > 0),
    transition       text NOT NULL CHECK (transition IN ('start', 'stop', 'delete')),
    reason           text NOT NULL CHECK (reason IN ('initiator', 'task')),
    initiator_id     uuid REFERENCES users (id),
    job_id           uuid NOT NULL UNIQUE REFERENCES provisioner_jobs (id),
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- of a start: the sandbox it made, and how that ended
    sandbox          jsonb,
    ended_at         timestamptz,
    ended_cause      text CHECK (ended_cause IN ('ended', 'stopped', 'memory', 'disk', 'host_restarted')),
    ended_message    text,
    CHECK ((ended_at IS NULL) = (ended_cause IS NULL)),
    UNIQUE (workspace_id, number)
);

-- The right of a sandbox's agent to connect: a token of which only the hash is kept. What it reports is its own word.
CREATE TABLE workspace_agents (
    id                 uuid PRIMARY KEY,
    organization_id    uuid NOT NULL REFERENCES organizations (id),
    workspace_id       uuid NOT NULL REFERENCES workspaces (id),
    build_id           uuid NOT NULL REFERENCES workspace_builds (id),
    token_hash         bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at         timestamptz NOT NULL DEFAULT now(),
    revoked_at         timestamptz,
    -- random for each start of the sandbox
    sandbox_id         text,
    version            text,
    replica_id         uuid,
    first_connected_at timestamptz,
    last_connected_at  timestamptz,
    disconnected_at    timestamptz
);
CREATE INDEX workspace_agents_workspace ON workspace_agents (workspace_id, created_at DESC) WHERE revoked_at IS NULL;
