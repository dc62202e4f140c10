import Core
import Foundation
import Postgres

struct RateLimitStore: Sendable {
    let pool: PostgresPool

    private static let columns: Query = """
        l.id, l.organization_id, l.name, l.user_id, u.username, l.provider, l.model, l.per_user, l.requests_per_minute,
        l.tokens_per_minute, l.concurrency
        """

    /// Of all organizations, by name.
    static func all(_ connection: PostgresConnection) async throws -> [RateLimit] {
        try await connection.query(
            "SELECT \(columns) FROM ai_rate_limits l LEFT JOIN users u ON u.id = l.user_id ORDER BY l.name"
        ).map { try limit($0) }
    }

    private static func limit(_ row: Row) throws -> RateLimit {
        RateLimit(
            id: try row["id"], organization: try row["organization_id"], name: try row["name"], user: try row["user_id"],
            username: try row["username"], provider: try row["provider"], model: try row["model"], isPerUser: try row["per_user"],
            bounds: .init(
                requestsPerMinute: try row["requests_per_minute"], tokensPerMinute: try row["tokens_per_minute"],
                concurrency: try row["concurrency"]))
    }

    /// Creates the limit of this name or replaces it. One that counts the same calls as before goes on counting.
    static func put(_ connection: PostgresConnection, _ limit: RateLimit) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_rate_limits
                (id, organization_id, name, user_id, provider, model, per_user, requests_per_minute, tokens_per_minute, concurrency)
            VALUES (\(limit.id), \(limit.organization), \(limit.name), \(limit.user), \(limit.provider), \(limit.model),
                    \(limit.isPerUser), \(limit.bounds.requestsPerMinute), \(limit.bounds.tokensPerMinute), \(limit.bounds.concurrency))
            ON CONFLICT (organization_id, name)
            DO UPDATE SET user_id = excluded.user_id, provider = excluded.provider, model = excluded.model,
                          per_user = excluded.per_user, requests_per_minute = excluded.requests_per_minute,
                          tokens_per_minute = excluded.tokens_per_minute, concurrency = excluded.concurrency, updated_at = now()
            """)
    }

    static func delete(_ connection: PostgresConnection, _ organization: OrganizationID, name: String) async throws -> Bool {
        // In the order in which calls lock them, before anything else: a statement that deletes takes them as they lie.
        try await connection.execute(
            """
            SELECT c.id FROM ai_rate_counters c
            WHERE c.limit_id = (SELECT l.id FROM ai_rate_limits l WHERE l.organization_id = \(organization) AND l.name = \(name))
            ORDER BY c.id FOR UPDATE
            """)
        let removed = try await connection.query(
            "DELETE FROM ai_rate_limits WHERE organization_id = \(organization) AND name = \(name) RETURNING id")
        guard let id = try removed.first?["id", as: UUID.self] else { return false }
        try await connection.execute("DELETE FROM ai_rate_counters WHERE limit_id = \(id)")
        return true
    }

    /// Calls under way now, by limit and for all users together.
    func open(_ organization: OrganizationID) async throws -> [UUID: Int64] {
        let rows = try await pool.query(
            "SELECT limit_id, sum(open)::bigint AS open FROM ai_rate_counters WHERE organization_id = \(organization) GROUP BY limit_id"
        )
        return try Dictionary(uniqueKeysWithValues: rows.map { (try $0["limit_id"], try $0["open"]) })
    }
}
