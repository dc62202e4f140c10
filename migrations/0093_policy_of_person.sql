-- Calls of a few people that one rule decided: with the rule at the end, only those rows are read, not all of the people's.
DROP INDEX IF EXISTS ai_interceptions_initiator;
CREATE INDEX ai_interceptions_initiator ON ai_interceptions (initiator_id, started_at DESC, id DESC, policy);
