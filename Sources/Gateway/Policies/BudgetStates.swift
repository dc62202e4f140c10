import Core
import Logging
import NIOConcurrencyHelpers
import Postgres

/// How much of each user's budget of the month is spent, in percent: read once a second while a policy asks for it, so that no call
/// needs a query. It decides which rules apply; that a budget is not overspent is the hold's to see to.
final class BudgetStates: Sendable {
    private let pool: PostgresPool
    private let percents = NIOLockedValueBox<[UserID: Int]>([:])

    init(pool: PostgresPool) { self.pool = pool }

    /// Nil: the user has no budget.
    func percent(of user: UserID) -> Int? { percents.withLockedValue { $0[user] } }

    func refresh() async throws {
        let rows = try await pool.query(
            """
            SELECT c.user_id, CASE c.cap WHEN 0 THEN 100 ELSE floor(least(coalesce(b.spent, 0)::numeric * 100 / c.cap, 1000000))::bigint END
                   AS percent
            FROM ai_budget_caps c
            LEFT JOIN ai_budgets b ON b.user_id = c.user_id AND b.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            """)
        var found: [UserID: Int] = [:]
        for row in rows { found[try row["user_id"]] = try row["percent"] }
        percents.withLockedValue { $0 = found }
    }
}
