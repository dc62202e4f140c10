-- Second attempts at calls whose first one is silent for too long.

-- When a route's calls are sent twice: hedge_after is 'p95' or '800ms'; NULL: never.
ALTER TABLE ai_model_routes ADD COLUMN IF NOT EXISTS hedge_after text CHECK (length(hedge_after) <= 16);
ALTER TABLE ai_model_routes ADD COLUMN IF NOT EXISTS hedge_floor_ms integer CHECK (hedge_floor_ms BETWEEN 0 AND 600000);
ALTER TABLE ai_model_routes ADD COLUMN IF NOT EXISTS hedge_samples integer CHECK (hedge_samples BETWEEN 1 AND 200);
-- percent
ALTER TABLE ai_model_routes ADD COLUMN IF NOT EXISTS hedge_share integer CHECK (hedge_share BETWEEN 1 AND 100);

-- The call that it was a second attempt at. Such a row has a hold and a ledger row of its own: those of the attempt that lost.
ALTER TABLE ai_interceptions ADD COLUMN IF NOT EXISTS hedge_of uuid;
