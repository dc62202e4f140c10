import Core
import Crypto
import Foundation
import Gateway
import Postgres

@testable import Server

/// Accounts and tokens put straight into the database: no test waits for scrypt without need.
enum People {
    /// A user of these roles and a token of theirs; on record, unless somebody puts them in behind the server's back.
    static func token(
        _ pool: PostgresPool, _ username: String, roles: Set<Role>, scope: TokenScope = .all, expired: Bool = false,
        isRecorded: Bool = true
    ) async throws -> String {
        let credential = Credential.token()
        let (user, token) = (UserID(), TokenID())
        try await pool.execute(
            """
            INSERT INTO users (id, organization_id, username, roles)
            VALUES (\(user), \(OrganizationID.default), \(username), \(roles.map(\.rawValue)))
            """)
        try await pool.execute(
            """
            INSERT INTO tokens (id, organization_id, user_id, name, hash, hint, scope, expires_at)
            VALUES (\(token), \(OrganizationID.default), \(user), 'test', \(credential.hash), 'slip_', \(scope.rawValue),
                    now() + make_interval(hours => \(Int32(expired ? -1 : 1))))
            """)
        guard isRecorded else { return credential.text.reveal() }
        try await AuditFacts(pool: pool, replica: ReplicaID()).record { connection in
            let facts = try await IdentityFacts.users(connection, [user], .created, actor: nil)
            return ((), facts + (try await IdentityFacts.tokens(connection, [token], .created, actor: nil)))
        }
        return credential.text.reveal()
    }
}
