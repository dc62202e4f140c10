import Core
import Crypto
import Foundation
import Postgres

/// What is put on record about accounts and tokens: each fact holds the whole state that it left behind, so that a verification can
/// compare the newest one with the row.
package enum IdentityFacts {
    /// The rows from before anything was recorded were taken over; every later row has facts of its own.
    static let baseline = "identity.baseline"

    package enum UserEvent: String, Sendable {
        case first = "user.first"
        case created = "user.create"
        case roles = "user.roles"
        case status = "user.status"
        case password = "user.password"
        /// Was there before changes were recorded.
        case found = "user.found"
    }

    package enum TokenEvent: String, Sendable {
        case created = "token.create"
        case revoked = "token.revoke"
        case found = "token.found"
    }

    /// Of users as they are now, in the transaction that changed them.
    package static func users(
        _ connection: PostgresConnection, _ ids: [UserID], _ event: UserEvent, actor: UserID?
    ) async throws -> [AuditFacts.Fact] {
        try await connection.query(
            "SELECT \(unsafeSQL: userColumns) FROM users u WHERE id = ANY(\(ids.map(\.uuid))) ORDER BY id"
        ).map { row in
            try AuditFacts.Fact(
                organization: row["organization_id"], actor: actor, kind: event.rawValue, subject: row["username"],
                userState(row))
        }
    }

    /// Of tokens as they are now, in the transaction that changed them.
    package static func tokens(
        _ connection: PostgresConnection, _ ids: [TokenID], _ event: TokenEvent, actor: UserID?
    ) async throws -> [AuditFacts.Fact] {
        try await connection.query(
            """
            SELECT \(unsafeSQL: tokenColumns), u.username FROM tokens t JOIN users u ON u.id = t.user_id
            WHERE t.id = ANY(\(ids.map(\.uuid))) ORDER BY t.id
            """
        ).map { row in
            let (owner, name) = (try row["username", as: String.self], try row["name", as: String.self])
            return try AuditFacts.Fact(
                organization: row["organization_id"], actor: actor, kind: event.rawValue, subject: "\(owner)/\(name)",
                tokenState(row))
        }
    }

    /// Takes over, once per database, what was there before changes were recorded.
    package static func takeOver(_ facts: AuditFacts) async throws {
        try await facts.record { connection in
            // Servers that start at the same time: one of them does it.
            _ = try await connection.query("SELECT id FROM organizations WHERE id = \(OrganizationID.default) FOR UPDATE")
            let isDone = try await !connection.query("SELECT FROM audit_facts WHERE kind = \(baseline) LIMIT 1").isEmpty
            if isDone { return ((), []) }
            let userIDs = try await connection.query("SELECT id FROM users").map { try $0["id", as: UserID.self] }
            let tokenIDs = try await connection.query("SELECT id FROM tokens").map { try $0["id", as: TokenID.self] }
            let found =
                try await users(connection, userIDs, .found, actor: nil) + (await tokens(connection, tokenIDs, .found, actor: nil))
            let done = try AuditFacts.Fact(
                organization: .default, actor: nil, kind: baseline, subject: "users and tokens",
                ["tokens": "\(tokenIDs.count)", "users": "\(userIDs.count)"])
            return ((), found + [done])
        }
    }

    // MARK: States

    static let userColumns = "u.id, u.organization_id, u.username, u.roles, u.status, u.password_hash"
    static let tokenColumns = """
        t.id, t.organization_id, t.user_id, t.name, t.scope, t.hash, t.revoked_at IS NOT NULL AS is_revoked,
        \(microseconds("t.expires_at")) AS expires
        """

    static func userState(_ row: Row) throws -> [String: String] {
        let password: String? = try row["password_hash"]
        return [
            "id": try row["id", as: UserID.self].description, "username": try row["username"],
            "roles": try row["roles", as: [String].self].sorted().joined(separator: " "), "status": try row["status"],
            "password": password.map { mark(Data($0.utf8)) } ?? "none",
        ]
    }

    static func tokenState(_ row: Row) throws -> [String: String] {
        [
            "id": try row["id", as: TokenID.self].description, "user": try row["user_id", as: UserID.self].description,
            "name": try row["name"], "scope": try row["scope"], "key": mark(try row["hash"]),
            "status": try row["is_revoked", as: Bool.self] ? "revoked" : "live",
            "expires": try row["expires", as: Int64?.self].map { "\($0)" } ?? "never",
        ]
    }

    /// Tells whether something was replaced, and nothing else: what is stored is a salted or random hash already.
    private static func mark(_ stored: Data) -> String { Data(SHA256.hash(data: stored)).hex.prefix(24).description }
}
