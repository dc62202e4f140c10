import Core
import Crypto
import Foundation
import Postgres

extension ToolServerStore {
    func keep(_ grant: OAuthGrant, state: String, _ principal: Principal, _ server: ToolServer) async throws {
        let id = UUID()
        let sealed = try keys.seal(try JSONEncoder().encode(grant), at: Self.place("ai_mcp_logins", id))
        _ = try await pool.withTransaction { connection in
            try await connection.pipeline([
                "DELETE FROM ai_mcp_logins WHERE created_at < now() - interval '10 minutes' OR (server_id = \(server.id) AND user_id = \(principal.user))",
                """
                INSERT INTO ai_mcp_logins (id, organization_id, server_id, user_id, state_hash, sealed)
                VALUES (\(id), \(principal.organization), \(server.id), \(principal.user), \(Self.hash(state)), \(sealed))
                """,
            ])
        }
    }

    /// What was kept under a state, which is then good no more; nil when there is none of this user for this server.
    func takeGrant(state: String, _ principal: Principal, _ server: ToolServer) async throws -> OAuthGrant? {
        let row = try await pool.query(
            """
            DELETE FROM ai_mcp_logins WHERE state_hash = \(Self.hash(state)) AND server_id = \(server.id) AND user_id = \(principal.user)
              AND created_at > now() - interval '10 minutes' RETURNING id, sealed
            """
        ).first
        guard let row else { return nil }
        let plain = try keys.open(row["sealed"], at: Self.place("ai_mcp_logins", try row["id"]))
        return try JSONDecoder().decode(OAuthGrant.self, from: plain)
    }

    func signIn(_ principal: Principal, _ server: ToolServer, _ tokens: OAuthTokens, _ connection: PostgresConnection) async throws
    {
        let id = UUID()
        let sealed = try keys.seal(try JSONEncoder().encode(tokens), at: Self.place("ai_mcp_credentials", id))
        _ = try await connection.pipeline([
            "DELETE FROM ai_mcp_credentials WHERE server_id = \(server.id) AND user_id = \(principal.user)",
            """
            INSERT INTO ai_mcp_credentials (id, organization_id, server_id, user_id, kind, sealed, header_names)
            VALUES (\(id), \(principal.organization), \(server.id), \(principal.user), 'oauth', \(sealed), \(["Authorization"]))
            """,
        ])
    }

    /// What a process finds that wants to make tokens new.
    enum Claim: Sendable {
        /// The user is not signed in there any more.
        case gone
        case good(OAuthTokens)
        /// Another process is at it.
        case taken
        case claimed(credential: UUID, OAuthTokens)
    }

    /// Claims old tokens for whoever will make them new.
    func claim(
        _ access: Access, _ principal: Principal, by claimant: UUID, _ isOld: @Sendable (OAuthTokens) -> Bool
    ) async throws -> Claim {
        try await pool.withTransaction { connection in
            let row = try await connection.query(
                """
                SELECT id, sealed, COALESCE(refreshing_until > clock_timestamp(), false) AS is_taken FROM ai_mcp_credentials
                WHERE server_id = \(access.server.id) AND user_id = \(principal.user) AND kind = 'oauth' FOR UPDATE
                """
            ).first
            guard let row else { return .gone }
            let id = try row["id", as: UUID.self]
            let plain = try keys.open(row["sealed"], at: Self.place("ai_mcp_credentials", id))
            let tokens = try JSONDecoder().decode(OAuthTokens.self, from: plain)
            guard isOld(tokens) else { return .good(tokens) }
            if try row["is_taken"] { return .taken }
            try await connection.execute(
                """
                UPDATE ai_mcp_credentials SET refreshing_by = \(claimant),
                    refreshing_until = clock_timestamp() + make_interval(secs => \(Double(TokenRefresh.claim.components.seconds)))
                WHERE id = \(id)
                """)
            return .claimed(credential: id, tokens)
        }
    }

    /// - Returns: false when the credential is another one now; then the tokens are of no use.
    func keep(_ tokens: OAuthTokens, _ credential: UUID, claimedBy claimant: UUID) async throws -> Bool {
        let sealed = try keys.seal(try JSONEncoder().encode(tokens), at: Self.place("ai_mcp_credentials", credential))
        return try await pool.execute(
            """
            UPDATE ai_mcp_credentials SET sealed = \(sealed), refreshing_by = NULL, refreshing_until = NULL
            WHERE id = \(credential) AND refreshing_by = \(claimant)
            """) == 1
    }

    func giveUp(_ credential: UUID, claimedBy claimant: UUID) async throws {
        try await pool.execute(
            """
            UPDATE ai_mcp_credentials SET refreshing_by = NULL, refreshing_until = NULL
            WHERE id = \(credential) AND refreshing_by = \(claimant)
            """)
    }

    private static func hash(_ state: String) -> Data { Data(SHA256.hash(data: Data(state.utf8))) }
}
