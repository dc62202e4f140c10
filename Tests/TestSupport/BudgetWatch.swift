import Core
import Postgres

/// Every amount that was ever taken of a budget (spent and held together): a trigger writes each change down, so that none is missed.
package struct BudgetWatch: Sendable {
    private let pool: PostgresPool

    package init(_ pool: PostgresPool) async throws {
        self.pool = pool
        try await pool.execute("CREATE TABLE watched_budgets (budget bigint NOT NULL, taken bigint NOT NULL)")
        try await pool.execute(
            """
            CREATE FUNCTION watch_budget() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO watched_budgets VALUES (NEW.id, NEW.spent + NEW.held); RETURN NULL; END $$
            """)
        try await pool.execute(
            "CREATE TRIGGER watch AFTER INSERT OR UPDATE ON ai_budgets FOR EACH ROW EXECUTE FUNCTION watch_budget()")
    }

    /// Of all budgets. Zero when there was no change.
    package func highest() async throws -> NanoDollars {
        try await pool.query("SELECT coalesce(max(taken), 0) AS highest FROM watched_budgets")[0]["highest"]
    }

    /// The highest of each budget, with its cap: the user's month by the name `month`, others by their subject's kind.
    package func highestAndCaps() async throws -> [String: (highest: NanoDollars, cap: NanoDollars)] {
        let rows = try await pool.query(
            """
            SELECT coalesce(r.subject_kind, 'month') AS name, max(w.taken) AS highest, max(coalesce(c.cap, r.cap)) AS cap
            FROM watched_budgets w JOIN ai_budgets b ON b.id = w.budget LEFT JOIN ai_budget_caps c ON c.user_id = b.user_id
            LEFT JOIN ai_budget_rules r ON r.id = b.rule_id GROUP BY b.id, 1
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { (try $0["name", as: String.self], (try $0["highest"], try $0["cap"])) })
    }
}
