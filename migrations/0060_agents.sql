-- Which of a client's own agents made a call, for whom, and what the client says of it: claims of the client, so that the cost of
-- sub-agents can be shown as a tree. Most calls have none of them.
ALTER TABLE ai_interceptions
    ADD COLUMN IF NOT EXISTS agent_id         text,
    ADD COLUMN IF NOT EXISTS parent_agent_id  text,
    ADD COLUMN IF NOT EXISTS agent_type       text,
    ADD COLUMN IF NOT EXISTS request_class    text,
    -- JSON: compaction, context_compacted, tool_milliseconds
    ADD COLUMN IF NOT EXISTS client_hints     text;
