import Core
import Foundation
import Gateway
import Postgres

package struct TokenRecord: Sendable {
    package var id: TokenID
    package var user: UserID
    package var username: String
    package var name: String
    package var hint: String
    package var scope: TokenScope
    package var createdAt: Date
    package var expiresAt: Date?
    package var revokedAt: Date?
    package var lastUsedAt: Date?

    init(row: Row) throws {
        id = try row["id"]
        user = try row["user_id"]
        username = try row["username"]
        name = try row["name"]
        hint = try row["hint"]
        scope = TokenScope(rawValue: try row["scope"]) ?? .read
        createdAt = try row["created_at"]
        expiresAt = try row["expires_at"]
        revokedAt = try row["revoked_at"]
        lastUsedAt = try row["last_used_at"]
    }
}

/// The SQL of API tokens, for reading.
struct TokenStore: Sendable {
    let pool: PostgresPool

    fileprivate static let columns: Query = """
        t.id, t.user_id, u.username, t.name, t.hint, t.scope, t.created_at, t.expires_at, t.revoked_at, t.last_used_at
        """

    /// Newest first; `user` nil: everybody's.
    func list(_ organization: OrganizationID, user: UserID?, _ page: PageRequest) async throws -> Page<TokenRecord> {
        let after = try page.after.map { text in
            guard let id = TokenID(text) else {
                throw AppError(.badRequest, "'\(text)' is no cursor of this list.", field: "after")
            }
            return id
        }
        let rows = try await pool.query(
            """
            SELECT \(Self.columns) FROM tokens t JOIN users u ON u.id = t.user_id
            WHERE t.organization_id = \(organization) AND (\(user)::uuid IS NULL OR t.user_id = \(user))
                AND (\(after)::uuid IS NULL
                     OR (t.created_at, t.id) < (SELECT c.created_at, c.id FROM tokens c WHERE c.id = \(after)))
            ORDER BY t.created_at DESC, t.id DESC LIMIT \(page.limit + 1)
            """)
        let tokens = try rows.prefix(page.limit).map(TokenRecord.init)
        return Page(items: tokens, next: rows.count > page.limit ? tokens.last?.id.description : nil)
    }

    /// Of a token that is not in the snapshot yet. Nil when it is unknown, revoked or expired, or its user is suspended.
    func find(hash: Data) async throws -> CredentialSnapshot.Entry? {
        try await pool.query(Self.live + " AND t.hash = \(hash)").first.map(CredentialSnapshot.Entry.init)
    }

    /// Everything that authenticates, and the version it belongs to, as of one moment.
    func snapshot() async throws -> (version: Int64, entries: [Data: CredentialSnapshot.Entry]) {
        try await pool.withConnection { connection in
            // One statement is one snapshot of the database, so the version belongs to exactly these rows.
            let rows = try await connection.query(
                "SELECT (SELECT version FROM settings_version) AS version, x.* FROM (SELECT 1) one LEFT JOIN (" + Self.live
                    + ") x ON true")
            var entries: [Data: CredentialSnapshot.Entry] = [:]
            for row in rows {
                guard let hash = try row["hash", as: Data?.self] else { continue }
                entries[hash] = try CredentialSnapshot.Entry(row: row)
            }
            return (try rows[0]["version"], entries)
        }
    }

    func version() async throws -> Int64 {
        try await pool.query("SELECT version FROM settings_version")[0]["version"]
    }

    /// Writes when tokens were used, many at once; the times are the callers' and only for people to look at.
    func noteUse(_ uses: [TokenID: Date]) async throws {
        let ids = uses.keys.map(\.uuid)
        let times = uses.values.map { $0 }
        try await pool.execute(
            """
            UPDATE tokens t SET last_used_at = greatest(t.last_used_at, u.at)
            FROM unnest(\(ids), \(times)) AS u (id, at) WHERE t.id = u.id
            """)
    }

    private static let live: Query = """
        SELECT t.hash, t.id, t.scope, t.expires_at, u.id AS user_id, u.organization_id, u.username, u.roles
        FROM tokens t JOIN users u ON u.id = t.user_id
        WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND u.status = 'active'
        """
}

/// The SQL that makes and revokes API tokens; each change is put on record by its own transaction.
struct TokenChanges: Sendable {
    let facts: AuditFacts

    func insert(
        _ organization: OrganizationID, _ user: UserID, name: String, credential: Credential, scope: TokenScope, lifetime: Duration
    ) async throws -> TokenRecord {
        try await facts.record { connection in
            let rows = try await connection.query(
                """
                WITH t AS (
                    INSERT INTO tokens (id, organization_id, user_id, name, hash, hint, scope, expires_at)
                    VALUES (\(TokenID()), \(organization), \(user), \(name), \(credential.hash), \(credential.hint), \(scope.rawValue),
                            now() + make_interval(secs => \(lifetime.inSeconds)))
                    RETURNING *
                )
                SELECT \(TokenStore.columns) FROM t JOIN users u ON u.id = t.user_id
                """)
            let token = try TokenRecord(row: rows[0])
            return (token, try await IdentityFacts.tokens(connection, [token.id], .created, actor: user))
        }
    }

    /// Whether there was such a token; `user` nil: anybody's. Revoking twice is no error.
    func revoke(_ principal: Principal, user: UserID?, _ token: TokenID) async throws -> Bool {
        try await facts.record { connection in
            let rows = try await connection.query(
                """
                SELECT revoked_at IS NOT NULL AS is_revoked FROM tokens
                WHERE organization_id = \(principal.organization) AND id = \(token)
                    AND (\(user)::uuid IS NULL OR user_id = \(user)) FOR UPDATE
                """)
            guard let row = rows.first else { return (false, []) }
            if try row["is_revoked"] { return (true, []) }
            try await connection.execute("UPDATE tokens SET revoked_at = now() WHERE id = \(token)")
            return (true, try await IdentityFacts.tokens(connection, [token], .revoked, actor: principal.user))
        }
    }
}
