-- How often log-in was tried, by address, by name and by both: see LoginLimits. Counted here and not in each server, so that more
-- servers do not mean more guesses.
--
-- Unlogged: a count lasts ten minutes, a crash of the database may forget it, and nobody who guesses shall make the disk busy.
CREATE UNLOGGED TABLE login_attempts (
    key        text PRIMARY KEY,
    -- Attempts that are left, at that time; they grow back.
    tokens     double precision NOT NULL,
    at         timestamptz NOT NULL,
    -- From then on the row says nothing.
    expires_at timestamptz NOT NULL
);
CREATE INDEX login_attempts_expires ON login_attempts (expires_at);
