-- Several may hold the same: each hold is its own, and what it keeps is free when the last of them has ended.
ALTER TABLE audit_legal_holds DROP CONSTRAINT IF EXISTS audit_legal_holds_organization_id_kind_subject_key;
CREATE INDEX IF NOT EXISTS audit_legal_holds_subject ON audit_legal_holds (organization_id, kind, subject);

-- How many entries stand behind a checkpoint, in all chains, also those that it leaves out because they did not grow: for people; what
-- is signed is the body. Those that are there already are counted once, by what their bodies say; a body that was tampered with counts
-- what can be read of it. NULL: written by a server of before.
ALTER TABLE audit_checkpoints ADD COLUMN IF NOT EXISTS entries bigint;
UPDATE audit_checkpoints c SET entries = counted.entries
FROM (
    SELECT number, sum(sum(grown)) OVER (ORDER BY number)::bigint AS entries
    FROM (
        SELECT p.number, h.n - coalesce(lag(h.n) OVER (PARTITION BY h.chain ORDER BY p.number), 0) AS grown
        FROM audit_checkpoints p
        CROSS JOIN LATERAL (
            SELECT m[1] AS chain, m[2]::bigint AS n
            FROM regexp_matches(
                encode(p.body, 'escape'), '"chain":"([0-9A-Fa-f-]{36})","link":"[0-9a-f]*","n":([0-9]{1,15})\y', 'g') m
        ) h
    ) heads
    GROUP BY number
) counted
WHERE counted.number = c.number AND c.entries IS NULL;
