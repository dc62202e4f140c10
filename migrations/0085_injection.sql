-- Tools of MCP servers inside of model calls.

-- never; asked: when a client asks by a header; always: unless a client says no
ALTER TABLE ai_mcp_servers ADD COLUMN IF NOT EXISTS inject text NOT NULL DEFAULT 'never'
    CHECK (inject IN ('never', 'asked', 'always'));

-- Calls look the answer up in memory.
DROP TRIGGER IF EXISTS settings_ai_mcp_servers ON ai_mcp_servers;
CREATE TRIGGER settings_ai_mcp_servers AFTER INSERT OR UPDATE OR DELETE ON ai_mcp_servers
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();

-- What clients never saw of turns of the model, until the conversation goes on: kept for a day, where content is kept at all.
CREATE TABLE IF NOT EXISTS ai_hidden_turns (
    id               uuid PRIMARY KEY,
    organization_id  uuid NOT NULL,
    user_id          uuid NOT NULL,
    -- by what the client's next request shows that it goes on with the turn
    key              bytea NOT NULL,
    sealed           bytea NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (organization_id, user_id, key)
);
CREATE INDEX IF NOT EXISTS ai_hidden_turns_age ON ai_hidden_turns (created_at);
