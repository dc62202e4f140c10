-- Servers of tools that are programs (stdio), run by each server process in a sandbox: the program and its arguments; null for those at a URL.
-- The values of their environment are sealed like the headers of the others, their names stand in header_names.
ALTER TABLE ai_mcp_servers ADD COLUMN IF NOT EXISTS command text[]
    CHECK (command IS NULL OR cardinality(command) BETWEEN 1 AND 64);
