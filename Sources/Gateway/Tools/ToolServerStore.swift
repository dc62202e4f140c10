import Core
import Foundation
import Postgres

/// Servers of tools, and what users are known by at them.
struct ToolServerStore: Sendable {
    let pool: PostgresPool
    let keys: KeyRing

    private static let columns = """
        s.id, s.organization_id, s.name, s.display_name, s.url, s.enabled, s.allow_private, s.auth, s.allow_tools, s.deny_tools,
        s.timeout_seconds, s.sealed, s.oauth_client_id, s.updated_at, s.inject, s.command
        """

    /// A server as one user reaches it.
    struct Access: Sendable {
        var server: ToolServer
        /// Nil when the user has not signed in there, in the way that the server wants now.
        var user: [ToolServer.Header]?
        /// The same where users authorize Slipway.
        var tokens: OAuthTokens?
        /// Changes when either does: a session that was opened by another one is of no use any more.
        var version: String

        var headers: [ToolServer.Header] { server.headers(with: tokens?.headers ?? user ?? []) }
        var isSignedIn: Bool { user != nil || tokens != nil }
        var needsLogin: Bool { server.auth != .none && !isSignedIn }
    }

    /// By name, with what the principal is known by at each.
    func all(_ principal: Principal, name: String? = nil) async throws -> [Access] {
        try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns), c.id AS credential, c.kind, c.sealed AS user_sealed
            FROM ai_mcp_servers s LEFT JOIN ai_mcp_credentials c ON c.server_id = s.id AND c.user_id = \(principal.user)
            WHERE s.organization_id = \(principal.organization) AND (\(name)::text IS NULL OR s.name = \(name))
            ORDER BY s.name LIMIT 1000
            """
        ).map { row in
            let server = try server(row)
            var user: [ToolServer.Header]?
            var tokens: OAuthTokens?
            let credential = try row["credential", as: UUID?.self]
            if let credential {
                let place = Self.place("ai_mcp_credentials", credential)
                let isOAuth = try row["kind", as: String.self] == "oauth"
                if server.auth == .user, !isOAuth { user = try open(row["user_sealed"], place) }
                if server.auth == .oauth, isOAuth {
                    tokens = try JSONDecoder().decode(OAuthTokens.self, from: try keys.open(row["user_sealed"], at: place))
                }
            }
            let version = "\(server.updatedAt.timeIntervalSince1970) \(credential?.uuidString ?? "")"
            return Access(server: server, user: user, tokens: tokens, version: version)
        }
    }

    /// When those that are programs and may run were changed, of all organizations.
    func programs() async throws -> [UUID: Date] {
        let rows = try await pool.query("SELECT id, updated_at FROM ai_mcp_servers WHERE enabled AND command IS NOT NULL")
        return Dictionary(uniqueKeysWithValues: try rows.map { (try $0["id", as: UUID.self], try $0["updated_at", as: Date.self]) })
    }

    /// The server as it is now; nobody changes it before the transaction ends.
    func locked(_ organization: OrganizationID, name: String, _ connection: PostgresConnection) async throws -> ToolServer? {
        try await connection.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM ai_mcp_servers s
            WHERE s.organization_id = \(organization) AND s.name = \(name) FOR UPDATE
            """
        ).first.map(server)
    }

    /// Whether the server is still where it was; it stays there until the transaction ends.
    func isAtItsURL(_ server: ToolServer, _ connection: PostgresConnection) async throws -> Bool {
        let rows = try await connection.query("SELECT url FROM ai_mcp_servers WHERE id = \(server.id) FOR SHARE")
        return try rows.first?["url"] == server.url
    }

    func insert(_ server: ToolServer, _ connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_mcp_servers (id, organization_id, name, display_name, url, enabled, allow_private, auth, allow_tools,
                                        deny_tools, timeout_seconds, sealed, oauth_client_id, header_names, inject, command)
            VALUES (\(server.id), \(server.organization), \(server.name), \(server.displayName), \(server.url), \(server.isEnabled),
                    \(server.allowsPrivateAddresses), \(server.auth.rawValue), \(server.rules.allow), \(server.rules.deny),
                    \(server.timeoutSeconds), \(try sealed(server)), \(server.oauthClientID), \(server.headers.map(\.name)),
                    \(server.injection.rawValue), \(server.isProgram ? server.command : nil))
            """)
    }

    /// - Returns: false when the server is not there any more.
    func update(_ server: ToolServer, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(
            """
            UPDATE ai_mcp_servers SET display_name = \(server.displayName), url = \(server.url), enabled = \(server.isEnabled),
                   allow_private = \(server.allowsPrivateAddresses), auth = \(server.auth.rawValue),
                   allow_tools = \(server.rules.allow), deny_tools = \(server.rules.deny),
                   timeout_seconds = \(server.timeoutSeconds), sealed = \(try sealed(server)), oauth_client_id = \(server.oauthClientID),
                   header_names = \(server.headers.map(\.name)), inject = \(server.injection.rawValue),
                   command = \(server.isProgram ? server.command : nil), updated_at = clock_timestamp()
            WHERE organization_id = \(server.organization) AND id = \(server.id)
            """) == 1
    }

    func delete(_ server: ToolServer, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(
            "DELETE FROM ai_mcp_servers WHERE organization_id = \(server.organization) AND id = \(server.id)") == 1
    }

    // MARK: Credentials

    func signIn(_ principal: Principal, _ server: ToolServer, _ headers: [ToolServer.Header], _ connection: PostgresConnection)
        async throws
    {
        // A new row, and so a new place, each time: sessions see by it that they are of an earlier credential.
        let id = UUID()
        let sealed = try keys.seal(try JSONEncoder().encode(headers), at: Self.place("ai_mcp_credentials", id))
        _ = try await connection.pipeline([
            "DELETE FROM ai_mcp_credentials WHERE server_id = \(server.id) AND user_id = \(principal.user)",
            """
            INSERT INTO ai_mcp_credentials (id, organization_id, server_id, user_id, sealed, header_names)
            VALUES (\(id), \(principal.organization), \(server.id), \(principal.user), \(sealed), \(headers.map(\.name)))
            """,
        ])
    }

    func signOut(_ principal: Principal, _ server: ToolServer, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(
            "DELETE FROM ai_mcp_credentials WHERE server_id = \(server.id) AND user_id = \(principal.user)") == 1
    }

    func signAllOut(_ server: ToolServer, _ connection: PostgresConnection) async throws {
        _ = try await connection.pipeline([
            "DELETE FROM ai_mcp_credentials WHERE server_id = \(server.id)",
            // What was begun at the old place would end with its tokens at the new one.
            "DELETE FROM ai_mcp_logins WHERE server_id = \(server.id)",
        ])
    }

    // MARK: Rows

    private func server(_ row: Row) throws -> ToolServer {
        let id = try row["id", as: UUID.self]
        guard let auth = ToolServer.Auth(rawValue: try row["auth"]) else {
            throw AppError(.internal, "The stored MCP server \(id) has an unknown kind of log-in.")
        }
        let headers = try row["sealed", as: Data?.self].map { try open($0, Self.place("ai_mcp_servers", id)) }
        return ToolServer(
            id: id, organization: try row["organization_id"], name: try row["name"], displayName: try row["display_name"],
            url: try row["url"], isEnabled: try row["enabled"], allowsPrivateAddresses: try row["allow_private"], auth: auth,
            rules: ToolRules(allow: try row["allow_tools"], deny: try row["deny_tools"]),
            timeout: .seconds(try row["timeout_seconds", as: Int.self]), oauthClientID: try row["oauth_client_id"],
            headers: headers ?? [], updatedAt: try row["updated_at"],
            injection: ToolServer.Injection(rawValue: try row["inject"]) ?? .never,
            command: try row["command", as: [String]?.self] ?? [])
    }

    private func sealed(_ server: ToolServer) throws -> Data? {
        if server.headers.isEmpty { return nil }
        return try keys.seal(try JSONEncoder().encode(server.headers), at: Self.place("ai_mcp_servers", server.id))
    }

    private func open(_ sealed: Data, _ place: KeyRing.Place) throws -> [ToolServer.Header] {
        try JSONDecoder().decode([ToolServer.Header].self, from: try keys.open(sealed, at: place))
    }

    static func place(_ table: String, _ id: UUID) -> KeyRing.Place {
        KeyRing.Place(table: table, column: "sealed", row: id.uuidString.lowercased())
    }
}

extension ToolServer {
    var timeoutSeconds: Int { Int(timeout.components.seconds) }
}
