-- Tools through the Model Context Protocol: which servers there are, who is signed in to them, and every call of a tool.

CREATE TABLE IF NOT EXISTS ai_mcp_servers (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    -- before the two underscores in a tool's name, so it has none itself
    name             text NOT NULL CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 32),
    display_name     text NOT NULL CHECK (length(display_name) <= 128),
    url              text NOT NULL CHECK (length(url) <= 2048),
    enabled          boolean NOT NULL DEFAULT true,
    -- loopback, private and link-local addresses are refused without it
    allow_private    boolean NOT NULL DEFAULT false,
    -- none: the headers below are enough; user: each user signs in with headers of their own
    auth             text NOT NULL CHECK (auth IN ('none', 'user')),
    -- patterns of tool names, where * stands for any run of characters; an empty allow list allows all, deny wins
    allow_tools      text[] NOT NULL CHECK (cardinality(allow_tools) <= 200),
    deny_tools       text[] NOT NULL CHECK (cardinality(deny_tools) <= 200),
    timeout_seconds  integer NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 600),
    -- names and values of the headers that every request has, as JSON
    sealed           bytea,
    header_names     text[] NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, name)
);

-- What one user is known by at one server.
CREATE TABLE IF NOT EXISTS ai_mcp_credentials (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    server_id        uuid NOT NULL REFERENCES ai_mcp_servers (id) ON DELETE CASCADE,
    user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    sealed           bytea NOT NULL,
    header_names     text[] NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (server_id, user_id)
);

-- Sessions of clients at our own endpoint: any replica takes up what another began.
CREATE TABLE IF NOT EXISTS ai_mcp_sessions (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    user_id          uuid NOT NULL,
    version          text NOT NULL,
    client           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    seen_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS ai_mcp_sessions_user ON ai_mcp_sessions (user_id, seen_at);

-- Written before a call leaves for its server. Rows are never changed. No foreign keys, as in 0002.
CREATE TABLE IF NOT EXISTS ai_mcp_calls (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    user_id          uuid NOT NULL,
    token_id         uuid,
    -- set when an agent acted for the user
    task_id          uuid,
    session_id       uuid,
    client           text NOT NULL,
    server_id        uuid NOT NULL,
    server           text NOT NULL,
    tool             text NOT NULL,
    -- the model's own id of the call (ai_tool_usages.provider_tool_call_id), where the client tells it
    tool_use_id      text,
    decision         text NOT NULL CHECK (decision IN ('allow', 'deny', 'approval')),
    rule             text NOT NULL,
    -- JSON; the digest covers its hash, so that content can be removed
    arguments        text,
    arguments_hash   bytea NOT NULL,
    arguments_size   bigint NOT NULL,
    request_id       text NOT NULL,
    replica_id       uuid NOT NULL,
    started_at       timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS ai_mcp_calls_newest ON ai_mcp_calls (organization_id, started_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS ai_mcp_calls_user ON ai_mcp_calls (user_id, started_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS ai_mcp_calls_tool_use ON ai_mcp_calls (organization_id, tool_use_id) WHERE tool_use_id IS NOT NULL;

-- Written before a result is released. A call without a result has an unknown outcome: its server process died.
CREATE TABLE IF NOT EXISTS ai_mcp_results (
    call_id          uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    -- ok; tool_error: the tool itself says that it failed; error: no result; refused: never sent
    status           text NOT NULL CHECK (status IN ('ok', 'tool_error', 'error', 'timeout', 'cancelled', 'refused')),
    result           text,
    result_hash      bytea NOT NULL,
    result_size      bigint NOT NULL,
    error            text,
    -- microseconds
    duration         bigint NOT NULL,
    ended_at         timestamptz NOT NULL
);
