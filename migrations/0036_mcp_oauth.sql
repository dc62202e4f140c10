-- Users authorize Slipway at servers of tools (OAuth 2.1, as the Model Context Protocol has it) in place of giving it a token.

ALTER TABLE ai_mcp_servers DROP CONSTRAINT IF EXISTS ai_mcp_servers_auth_check;
ALTER TABLE ai_mcp_servers ADD CONSTRAINT ai_mcp_servers_auth_check CHECK (auth IN ('none', 'user', 'oauth'));
-- Where the authorization server registers no clients by itself.
ALTER TABLE ai_mcp_servers ADD COLUMN IF NOT EXISTS oauth_client_id text CHECK (length(oauth_client_id) <= 512);

-- headers: a JSON array of names and values; oauth: an access token and how to get the next one
ALTER TABLE ai_mcp_credentials ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'headers' CHECK (kind IN ('headers', 'oauth'));

-- Log-ins that were begun: the user's browser is at the authorization server. Ten minutes, once.
CREATE TABLE IF NOT EXISTS ai_mcp_logins (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    server_id        uuid NOT NULL REFERENCES ai_mcp_servers (id) ON DELETE CASCADE,
    user_id          uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    state_hash       bytea NOT NULL UNIQUE CHECK (length(state_hash) = 32),
    -- the verifier and where to exchange the code, as JSON
    sealed           bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
