import Core
import Foundation
import Postgres

/// The SQL of browser sessions; only the hash of a session's id is stored.
struct SessionStore: Sendable {
    static let lifetime = Duration.seconds(7 * 24 * 3600)

    let pool: PostgresPool

    func insert(_ user: UserRecord, idHash: Data, address: String?, userAgent: String?) async throws {
        try await pool.withConnection { connection in
            _ = try await connection.pipeline([
                "DELETE FROM login_sessions WHERE expires_at < now()",
                """
                INSERT INTO login_sessions (id_hash, organization_id, user_id, expires_at, address, user_agent)
                VALUES (\(idHash), \(user.organization), \(user.id), now() + make_interval(secs => \(Self.lifetime.inSeconds)),
                        \(address), \(userAgent.map { String($0.prefix(200)) }))
                """,
                "UPDATE users SET last_seen_at = now() WHERE id = \(user.id)",
            ])
        }
    }

    /// Nil when the session has ended, or its user is suspended.
    func find(idHash: Data) async throws -> Principal? {
        let rows = try await pool.query(
            """
            SELECT u.id, u.organization_id, u.username, u.roles FROM login_sessions s JOIN users u ON u.id = s.user_id
            WHERE s.id_hash = \(idHash) AND s.expires_at > now() AND u.status = 'active'
            """)
        return try rows.first.map { row in
            Principal(
                organization: try row["organization_id"], user: try row["id"], username: try row["username"],
                roles: Set(try row["roles", as: [String].self].compactMap(Role.init)))
        }
    }

    func delete(idHash: Data) async throws {
        try await pool.execute("DELETE FROM login_sessions WHERE id_hash = \(idHash)")
    }
}
