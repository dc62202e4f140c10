import AgentLoop
import Core
import Foundation
import Gateway
import Postgres

/// A user as it is stored; the password's hash stays in the store.
package struct UserRecord: Sendable {
    package var id: UserID
    package var organization: OrganizationID
    package var username: String
    package var email: String?
    package var roles: Set<Role>
    package var isSuspended: Bool
    package var createdAt: Date
    package var lastSeenAt: Date?

    init(row: Row) throws {
        id = try row["id"]
        organization = try row["organization_id"]
        username = try row["username"]
        email = try row["email"]
        roles = Set(try row["roles", as: [String].self].compactMap(Role.init))
        isSuspended = try row["status", as: String.self] != "active"
        createdAt = try row["created_at"]
        lastSeenAt = try row["last_seen_at"]
    }

    package func principal(scope: TokenScope = .all, token: TokenID? = nil) -> Principal {
        Principal(organization: organization, user: id, username: username, roles: roles, token: token, scope: scope)
    }
}

/// The SQL of users and of the codes that make the first one. Every change is put on record by its own transaction.
struct UserStore: Sendable {
    let pool: PostgresPool
    let facts: AuditFacts

    private static let columns: Query = "id, organization_id, username, email, roles, status, created_at, last_seen_at"

    func anyExists() async throws -> Bool {
        try await pool.query("SELECT EXISTS (SELECT 1 FROM users) AS it")[0]["it"]
    }

    /// Codes of servers that were stopped long ago are removed on the way.
    func addSetupCode(hash: Data) async throws {
        try await pool.withConnection { connection in
            _ = try await connection.pipeline([
                "DELETE FROM setup_codes WHERE created_at < now() - interval '1 day'",
                "INSERT INTO setup_codes (hash) VALUES (\(hash))",
            ])
        }
    }

    /// Makes the first user. Of several at the same time one succeeds: the organization's row is the lock.
    /// - Throws: `conflict` when there is a user already; `forbidden` for a wrong code.
    func insertFirst(codeHash: Data, _ new: NewUser) async throws -> UserRecord {
        try await facts.record { connection in
            _ = try await connection.query("SELECT id FROM organizations WHERE id = \(OrganizationID.default) FOR UPDATE")
            let exists: Bool = try await connection.query("SELECT EXISTS (SELECT 1 FROM users) AS it")[0]["it"]
            guard !exists else {
                throw AppError(.conflict, "This server has its first user already; log in instead, or ask an admin for an account.")
            }
            guard try await connection.execute("DELETE FROM setup_codes WHERE hash = \(codeHash)") == 1 else {
                throw AppError(
                    .forbidden,
                    "The set-up code is not one that a running server printed. Look for 'set-up code' in the server's log.",
                    field: "setup_code")
            }
            _ = try await connection.execute("DELETE FROM setup_codes")
            let user = try await Self.insert(new, organization: .default, on: connection)
            return (user, try await IdentityFacts.users(connection, [user.id], .first, actor: user.id))
        }
    }

    /// - Throws: `conflict` when the name is taken.
    func insert(_ principal: Principal, _ new: NewUser) async throws -> UserRecord {
        try await facts.record { connection in
            let user = try await Self.insert(new, organization: principal.organization, on: connection)
            return (user, try await IdentityFacts.users(connection, [user.id], .created, actor: principal.user))
        }
    }

    private static func insert(_ new: NewUser, organization: OrganizationID, on connection: PostgresConnection) async throws
        -> UserRecord
    {
        do {
            let rows = try await connection.query(
                """
                INSERT INTO users (id, organization_id, username, email, password_hash, roles)
                VALUES (\(UserID()), \(organization), \(new.username), \(new.email), \(new.passwordHash), \(new.roles.map(\.rawValue).sorted()))
                RETURNING \(columns)
                """)
            return try UserRecord(row: rows[0])
        } catch let error as PostgresError where error.isUniqueViolation {
            throw AppError(.conflict, "There is a user '\(new.username)' already.", field: "username")
        }
    }

    func list(_ organization: OrganizationID, _ page: PageRequest) async throws -> Page<UserRecord> {
        let rows = try await pool.query(
            """
            SELECT \(Self.columns) FROM users
            WHERE organization_id = \(organization) AND (\(page.after)::text IS NULL OR username > \(page.after))
            ORDER BY username LIMIT \(page.limit + 1)
            """)
        let users = try rows.prefix(page.limit).map(UserRecord.init)
        return Page(items: users, next: rows.count > page.limit ? users.last?.username : nil)
    }

    /// By id or name.
    func find(_ organization: OrganizationID, _ reference: String) async throws -> UserRecord? {
        try await pool.query(
            """
            SELECT \(Self.columns) FROM users
            WHERE organization_id = \(organization) AND (username = \(reference) OR id = \(UUID(uuidString: reference)))
            """
        ).first.map(UserRecord.init)
    }

    /// The user and the hash of the password, for log-in and nothing else.
    func findForLogin(username: String) async throws -> (user: UserRecord, passwordHash: String?)? {
        let rows = try await pool.query(
            """
            SELECT \(Self.columns), password_hash FROM users
            WHERE organization_id = \(OrganizationID.default) AND username = \(username)
            """)
        return try rows.first.map { (try UserRecord(row: $0), try $0["password_hash"]) }
    }

    /// Also ends the user's sessions in browsers; tokens have their own life.
    func setPassword(_ principal: Principal, _ user: UserID, hash: String) async throws {
        let organization = principal.organization
        try await facts.record { connection in
            _ = try await connection.pipeline([
                "UPDATE users SET password_hash = \(hash) WHERE organization_id = \(organization) AND id = \(user)",
                "DELETE FROM login_sessions WHERE organization_id = \(organization) AND user_id = \(user)",
            ])
            return ((), try await IdentityFacts.users(connection, [user], .password, actor: principal.user))
        }
    }

    func setStatus(_ principal: Principal, _ user: UserID, isSuspended: Bool) async throws {
        let organization = principal.organization
        try await changeKeepingAnOwner(principal, user, .status) { connection in
            let status = isSuspended ? "suspended" : "active"
            try await connection.execute(
                "UPDATE users SET status = \(status) WHERE organization_id = \(organization) AND id = \(user)")
            if isSuspended {
                try await connection.execute(
                    "DELETE FROM login_sessions WHERE organization_id = \(organization) AND user_id = \(user)")
                try await TaskStore.interruptAll(
                    of: user, organization, by: "\(principal.username), who suspended the account", connection)
            }
        }
    }

    func setRoles(_ principal: Principal, _ user: UserID, _ roles: Set<Role>) async throws {
        try await changeKeepingAnOwner(principal, user, .roles) { connection in
            try await connection.execute(
                """
                UPDATE users SET roles = \(roles.map(\.rawValue).sorted())
                WHERE organization_id = \(principal.organization) AND id = \(user)
                """)
        }
    }

    /// - Throws: `conflict` when the change would leave nobody who may do everything.
    private func changeKeepingAnOwner(
        _ principal: Principal, _ user: UserID, _ event: IdentityFacts.UserEvent,
        _ body: @escaping @Sendable (PostgresConnection) async throws -> Void
    ) async throws {
        let organization = principal.organization
        try await facts.record { connection in
            // Not FOR UPDATE: whoever holds a row that the body needs may be about to write one that names the organization.
            _ = try await connection.query("SELECT id FROM organizations WHERE id = \(organization) FOR NO KEY UPDATE")
            try await body(connection)
            let owned: Bool = try await connection.query(
                """
                SELECT EXISTS (SELECT 1 FROM users WHERE organization_id = \(organization) AND status = 'active' AND 'owner' = ANY (roles)) AS it
                """)[0]["it"]
            guard owned else { throw AppError(.conflict, "This would leave the organization without an active owner.") }
            return ((), try await IdentityFacts.users(connection, [user], event, actor: principal.user))
        }
    }
}

/// A user who is about to be stored.
struct NewUser: Sendable {
    var username: String
    var email: String?
    var passwordHash: String
    var roles: Set<Role>
}
