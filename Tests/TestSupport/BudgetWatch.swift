import Core
import Postgres

/// Every amount that was ever taken of a budget (spent and held together): a trigger writes each change down, so that none is missed.
package struct BudgetWatch: Sendable {
    private let pool: PostgresPool

    package init(_ pool: PostgresPool) async throws {
        self.pool = pool
        try await pool.execute("CREATE TABLE watched_budgets (taken bigint NOT NULL)")
        try await pool.execute(
            """
            CREATE FUNCTION watch_budget() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO watched_budgets VALUES (NEW.spent + NEW.held); RETURN NULL; END $$
            """)
        try await pool.execute(
            "CREATE TRIGGER watch AFTER INSERT OR UPDATE ON ai_budgets FOR EACH ROW EXECUTE FUNCTION watch_budget()")
    }

    /// Zero when there was no change.
    package func highest() async throws -> NanoDollars {
        try await pool.query("SELECT coalesce(max(taken), 0) AS highest FROM watched_budgets")[0]["highest"]
    }
}
