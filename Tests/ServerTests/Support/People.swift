import Core
import Crypto
import Foundation
import Postgres

@testable import Server

/// Accounts and tokens put straight into the database: no test waits for scrypt without need.
enum People {
    /// A user of these roles and a token of theirs.
    static func token(
        _ pool: PostgresPool, _ username: String, roles: Set<Role>, scope: TokenScope = .all, expired: Bool = false
    ) async throws -> String {
        let credential = Credential.token()
        let user = UserID()
        try await pool.execute(
            """
            INSERT INTO users (id, organization_id, username, roles)
            VALUES (\(user), \(OrganizationID.default), \(username), \(roles.map(\.rawValue)))
            """)
        try await pool.execute(
            """
            INSERT INTO tokens (id, organization_id, user_id, name, hash, hint, scope, expires_at)
            VALUES (\(TokenID()), \(OrganizationID.default), \(user), 'test', \(credential.hash), 'slip_', \(scope.rawValue),
                    now() + make_interval(hours => \(Int32(expired ? -1 : 1))))
            """)
        return credential.text.reveal()
    }
}
