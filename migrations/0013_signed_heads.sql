-- Up to where checkpoints have signed each chain: only a hint, the verifier does not believe it. It has a table of its own because the
-- flush that answers wait for updates audit_chains, and must neither wait for a checkpoint nor deadlock with one.
CREATE TABLE audit_signed (
    chain  uuid PRIMARY KEY REFERENCES audit_chains (id),
    n      bigint NOT NULL CHECK (n > 0)
);
INSERT INTO audit_signed SELECT id, signed FROM audit_chains WHERE signed > 0;
ALTER TABLE audit_chains DROP COLUMN signed;
