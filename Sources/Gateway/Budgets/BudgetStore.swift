import Core
import Postgres

struct BudgetStore: Sendable {
    let pool: PostgresPool

    /// - Parameter cap: nil removes it.
    /// - Returns: false when the organization has no such user.
    func setCap(
        _ organization: OrganizationID, _ user: UserID, _ cap: NanoDollars?, _ connection: PostgresConnection
    ) async throws -> Bool {
        let exists = try await connection.query(
            "SELECT 1 FROM users WHERE organization_id = \(organization) AND id = \(user)")
        if exists.isEmpty { return false }
        if let cap {
            try await connection.execute(
                """
                INSERT INTO ai_budget_caps (user_id, organization_id, cap) VALUES (\(user), \(organization), \(cap))
                ON CONFLICT (user_id) DO UPDATE SET cap = excluded.cap, hard = true, updated_at = now()
                """)
        } else {
            try await connection.execute("DELETE FROM ai_budget_caps WHERE user_id = \(user)")
        }
        return true
    }

    /// This month's, of one user or of all; by user name.
    func current(_ organization: OrganizationID, user: UserID?) async throws -> [Budget] {
        try await pool.query(
            """
            SELECT u.id, u.username, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS period, c.cap,
                   coalesce(b.spent, 0)::bigint AS spent, coalesce(b.held, 0)::bigint AS held
            FROM users u
            LEFT JOIN ai_budget_caps c ON c.user_id = u.id
            LEFT JOIN ai_budgets b ON b.user_id = u.id AND b.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            WHERE u.organization_id = \(organization) AND (\(user)::uuid IS NULL OR u.id = \(user))
            ORDER BY u.username LIMIT 1000
            """
        ).map { row in
            Budget(
                user: try row["id"], username: try row["username"], period: try row["period"], cap: try row["cap"],
                spent: try row["spent"], held: try row["held"])
        }
    }
}
