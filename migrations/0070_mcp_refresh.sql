-- Old tokens are made new by one server process at a time, and no connection to the database is held meanwhile.
ALTER TABLE ai_mcp_credentials ADD COLUMN IF NOT EXISTS refreshing_by uuid;
-- A claim that is older is a dead process's.
ALTER TABLE ai_mcp_credentials ADD COLUMN IF NOT EXISTS refreshing_until timestamptz;
