-- What the Idempotency-Keys of callers stand for: each names its first call, whose end in the ledger says what a repeat gets.

CREATE TABLE IF NOT EXISTS ai_idempotency_keys (
    organization_id  uuid NOT NULL,
    user_id          uuid NOT NULL,
    -- SHA-256 of what the client sent
    key_hash         bytea NOT NULL CHECK (length(key_hash) = 32),
    -- over provider, path and body
    request_hash     bytea NOT NULL CHECK (length(request_hash) = 32),
    interception_id  uuid NOT NULL,
    expires_at       timestamptz NOT NULL,
    PRIMARY KEY (organization_id, user_id, key_hash)
);
CREATE INDEX IF NOT EXISTS ai_idempotency_keys_expiry ON ai_idempotency_keys (expires_at);

-- A repeat is on record as a call of its own that names the first, and holds and costs nothing.
ALTER TABLE ai_interceptions ADD COLUMN IF NOT EXISTS replay_of uuid;
ALTER TABLE ai_interceptions DROP CONSTRAINT IF EXISTS ai_interceptions_status_check;
ALTER TABLE ai_interceptions ADD CONSTRAINT ai_interceptions_status_check
    CHECK (status IN ('open', 'completed', 'failed', 'cut', 'client_left', 'refused', 'unknown', 'replayed'));
