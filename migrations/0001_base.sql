-- Who uses Slipway, the replicas that serve them, and the files that they send.

CREATE TABLE organizations (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    created_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO organizations (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default');

CREATE TABLE users (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    username         text NOT NULL CHECK (username ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(username) <= 32),
    email            text CHECK (length(email) <= 254),
    -- NULL: nobody can log in as this user with a password (a service account)
    password_hash    text,
    roles            text[] NOT NULL CHECK (roles <@ ARRAY['owner', 'admin', 'auditor', 'member'] AND cardinality(roles) > 0),
    status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz,
    UNIQUE (organization_id, username)
);

-- The one-time codes printed by servers that start without any user; all are removed with the first user.
CREATE TABLE setup_codes (
    hash        bytea PRIMARY KEY CHECK (length(hash) = 32),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE login_sessions (
    id_hash          bytea PRIMARY KEY CHECK (length(id_hash) = 32),
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    address          text,
    user_agent       text
);
CREATE INDEX login_sessions_user ON login_sessions (user_id);
CREATE INDEX login_sessions_expiry ON login_sessions (expires_at);

CREATE TABLE tokens (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name             text NOT NULL CHECK (name <> '' AND length(name) <= 64),
    hash             bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- the first characters of the token, by which its owner recognises it
    hint             text NOT NULL,
    scope            text NOT NULL CHECK (scope IN ('all', 'gateway', 'read')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- NULL: does not expire
    expires_at       timestamptz,
    revoked_at       timestamptz,
    last_used_at     timestamptz
);
CREATE INDEX tokens_user ON tokens (user_id, created_at);

-- A value sealed by the key ring: a server whose ring does not open it refuses to start.
CREATE TABLE key_sentinel (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    sealed  bytea NOT NULL
);

CREATE TABLE replicas (
    id            uuid PRIMARY KEY,
    internal_url  text NOT NULL,
    host          text NOT NULL,
    epoch         bigint NOT NULL,
    version       text NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    seen_at       timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE replica_epochs;

-- One number that grows with every change to what servers keep in memory (tokens, users, providers, policies, prices, caps).
-- A server that sees it grown reads everything again in one snapshot of the database.
CREATE TABLE settings_version (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    version     bigint NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO settings_version (version) VALUES (1);

-- For AFTER … FOR EACH STATEMENT triggers of every such table.
CREATE FUNCTION bump_settings_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE settings_version SET version = version + 1, changed_at = now();
    PERFORM pg_notify('settings', '');
    RETURN NULL;
END $$;

CREATE TRIGGER users_settings
    AFTER INSERT OR DELETE OR UPDATE OF username, roles, status ON users
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE TRIGGER tokens_settings
    AFTER INSERT OR DELETE OR UPDATE OF user_id, hash, scope, expires_at, revoked_at ON tokens
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();
CREATE TRIGGER login_sessions_settings
    AFTER DELETE ON login_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();

-- What people upload (git bundles) and what tasks hand back, cut into chunks so that neither side holds a whole file in memory.
CREATE TABLE files (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    owner_id         uuid NOT NULL REFERENCES users (id),
    content_type     text NOT NULL,
    -- NULL until the last chunk is stored
    hash             bytea CHECK (length(hash) = 32),
    size             bigint CHECK (size >= 0),
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX files_owner ON files (organization_id, owner_id, created_at);

CREATE TABLE file_chunks (
    file_id  uuid NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    n        integer NOT NULL CHECK (n >= 0),
    data     bytea NOT NULL,
    PRIMARY KEY (file_id, n)
);
