-- Prices that an admin took out of the book again, or cut to a shorter interval. The rows of ai_prices stay as they are, since ledger
-- rows name them; they are not looked up any more.
CREATE TABLE ai_price_withdrawals (
    price_id         text PRIMARY KEY REFERENCES ai_prices (id),
    organization_id  uuid NOT NULL REFERENCES organizations (id),
    at               timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER ai_price_withdrawals_settings AFTER INSERT OR UPDATE OR DELETE ON ai_price_withdrawals
    FOR EACH STATEMENT EXECUTE FUNCTION bump_settings_version();

-- The class of service by which a call was priced; NULL for rows from before it was known: the standard one.
ALTER TABLE ai_ledger ADD COLUMN service_tier text CHECK (service_tier IN ('standard', 'priority', 'flex', 'batch'));
