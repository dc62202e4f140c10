-- When an answer began to say something, and when its bytes came.

-- Milliseconds from a call's arrival to the first content of its stream, or to the head of an answer that is none. NULL: from before it
-- was recorded, no such thing came, or the answer is an error. Where it is set, the ledger's entry in the audit chain covers it.
ALTER TABLE ai_interceptions ADD COLUMN IF NOT EXISTS first_token_ms bigint;

-- When which part of a stream came: `ChunkTimes` in Sources/Gateway/Content; at most 400 bytes. NULL: no stream, or not recorded.
ALTER TABLE ai_contents ADD COLUMN IF NOT EXISTS timing bytea;
