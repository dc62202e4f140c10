-- A call is booked once, whichever of its attempts it was and whoever settles it: of two servers at the same moment one is refused here,
-- looks again and finds it booked. Where a call was booked twice before, its rows stay as they are, and the rule begins now.
DO $$
BEGIN
    IF to_regclass('ai_ledger_interception') IS NOT NULL THEN RETURN; END IF;
    IF EXISTS (SELECT FROM ai_ledger GROUP BY interception_id HAVING count(*) > 1) THEN
        EXECUTE format('CREATE UNIQUE INDEX ai_ledger_interception ON ai_ledger (interception_id) WHERE settled_at > %L::timestamptz', now());
    ELSE
        CREATE UNIQUE INDEX ai_ledger_interception ON ai_ledger (interception_id);
    END IF;
END $$;

COMMENT ON COLUMN ai_corrections.run_id IS 'One run of re-rating; of a call that its own server settled after another one had booked it as unknown, the call''s id.';
COMMENT ON COLUMN ai_corrections.actor_id IS 'Who re-rated; all zeros: the server itself, after it had been taken for dead.';
