import Core
import Foundation
import Postgres

/// Creates, changes and lists servers of tools, and signs users in to them. Headers go in and never come out.
package struct ToolServerService: Sendable {
    let store: ToolServerStore
    let facts: AuditFacts
    let settings: SettingsCache
    let programs: ProgramSessions

    package struct Change: Sendable {
        package var displayName: String?
        package var url: String?
        package var isEnabled: Bool?
        package var allowsPrivateAddresses: Bool?
        package var auth: ToolServer.Auth?
        package var allow: [String]?
        package var deny: [String]?
        package var timeoutSeconds: Int?
        /// Empty: none, so that Slipway registers itself.
        package var oauthClientID: String?
        /// All of them, at most 16; nil leaves them.
        package var headers: [ToolServer.Header]?
        package var injection: ToolServer.Injection?
        /// Of a server that is a program: it and its arguments.
        package var command: [String]?
        /// All of it, at most 32 values; nil leaves it. Sealed and never shown.
        package var environment: [ToolServer.Header]?

        package init() {}
    }

    /// A server as its list shows it to one user.
    package struct Listed: Sendable {
        package var server: ToolServer
        /// Whether the user has signed in there.
        package var isSignedIn: Bool
    }

    /// - Throws: `badRequest`, `conflict` when the name is taken.
    package func create(_ principal: Principal, name: String, _ change: Change) async throws -> Listed {
        try ProviderRules.check(name: name)
        guard let url = change.url ?? change.command.map({ _ in ToolServer.programURL }) else {
            throw AppError(.badRequest, "url is missing, or command of a server that is a program.", field: "url")
        }
        try programs.check(change)
        var fresh = ToolServer(
            id: UUID(), organization: principal.organization, name: name, displayName: name, url: url, isEnabled: true,
            allowsPrivateAddresses: false, auth: .none, rules: ToolRules(), timeout: .seconds(60), headers: [], updatedAt: Date())
        try Self.apply(change, to: &fresh)
        let (server, store) = (fresh, store)
        do {
            try await facts.record { connection in
                try await store.insert(server, connection)
                return ((), [try Self.fact(principal, "mcp_server.create", server)])
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw AppError(.conflict, "There is an MCP server named '\(name)' already.", field: "name")
        }
        try await settings.refresh()
        return Listed(server: server, isSignedIn: false)
    }

    package func update(_ principal: Principal, name: String, _ change: Change) async throws -> Listed {
        let isSignedIn = try await access(principal, name).isSignedIn
        let store = store
        // Read where it is written: what another admin changes at the same time stays.
        let changed = try await facts.record { connection in
            guard let before = try await store.locked(principal.organization, name: name, connection) else {
                throw Self.missing(name)
            }
            var server = before
            try Self.apply(change, to: &server)
            // What was given to one host is not for another one.
            let moves = ToolServerCheck.origin(of: server.url) != ToolServerCheck.origin(of: before.url)
            if moves, !server.headers.isEmpty, change.headers == nil {
                throw AppError(
                    .badRequest, "The URL is one of another host: give the headers for it anew, or none.", field: "headers")
            }
            guard try await store.update(server, connection) else { throw Self.missing(name) }
            if moves { try await store.signAllOut(server, connection) }
            return (
                Listed(server: server, isSignedIn: isSignedIn && !moves), [try Self.fact(principal, "mcp_server.update", server)]
            )
        }
        programs.end(changed.server.id)
        try await settings.refresh()
        return changed
    }

    package func delete(_ principal: Principal, name: String) async throws {
        let (server, store) = (try await access(principal, name).server, store)
        try await facts.record { connection in
            guard try await store.delete(server, connection) else { throw Self.missing(name) }
            return ((), [try Self.fact(principal, "mcp_server.delete", server)])
        }
        programs.end(server.id)
        try await settings.refresh()
    }

    package func list(_ principal: Principal) async throws -> [Listed] {
        try await store.all(principal).map { Listed(server: $0.server, isSignedIn: $0.isSignedIn) }
    }

    package func get(_ principal: Principal, name: String) async throws -> Listed {
        let access = try await access(principal, name)
        return Listed(server: access.server, isSignedIn: access.isSignedIn)
    }

    // MARK: Users at servers

    package func signIn(_ principal: Principal, name: String, _ headers: [ToolServer.Header]) async throws {
        let (server, store) = (try await access(principal, name).server, store)
        guard server.auth == .user else {
            throw AppError(
                .conflict,
                server.auth == .oauth
                    ? "The MCP server '\(name)' takes no headers of users: they authorize Slipway with 'slipway mcp login \(name)'."
                    : "The MCP server '\(name)' needs no log-in: everybody uses it with the headers that it has.")
        }
        guard !headers.isEmpty else { throw AppError(.badRequest, "There is no header to sign in with.", field: "headers") }
        try ToolServerCheck.check(headers: headers)
        try await facts.record { connection in
            guard try await store.isAtItsURL(server, connection) else { throw Self.moved(server.name) }
            try await store.signIn(principal, server, headers, connection)
            let names = headers.map(\.name).joined(separator: " ")
            return (
                (),
                [
                    try AuditFacts.Fact(
                        organization: principal.organization, actor: principal.user, kind: "mcp_server.sign_in",
                        subject: server.name,
                        ["headers": names])
                ]
            )
        }
    }

    func signIn(_ principal: Principal, _ server: ToolServer, _ tokens: OAuthTokens) async throws {
        let store = store
        try await facts.record { connection in
            guard try await store.isAtItsURL(server, connection) else { throw Self.moved(server.name) }
            try await store.signIn(principal, server, tokens, connection)
            return (
                (),
                [
                    try AuditFacts.Fact(
                        organization: principal.organization, actor: principal.user, kind: "mcp_server.sign_in",
                        subject: server.name,
                        ["client_id": tokens.clientID, "token_endpoint": tokens.tokenEndpoint])
                ]
            )
        }
    }

    package func signOut(_ principal: Principal, name: String) async throws {
        let (server, store) = (try await access(principal, name).server, store)
        try await facts.record { connection in
            guard try await store.signOut(principal, server, connection) else {
                throw AppError(.notFound, "'\(principal.username)' is not signed in to the MCP server '\(name)'.")
            }
            return (
                (),
                [
                    try AuditFacts.Fact(
                        organization: principal.organization, actor: principal.user, kind: "mcp_server.sign_out",
                        subject: server.name,
                        [:])
                ]
            )
        }
    }

    func access(_ principal: Principal, _ name: String) async throws -> ToolServerStore.Access {
        guard let access = try await store.all(principal, name: name).first else { throw Self.missing(name) }
        return access
    }

    // MARK: Rules

    private static func apply(_ change: Change, to server: inout ToolServer) throws {
        if let name = change.displayName {
            guard name.utf8.count <= 128 else {
                throw AppError(.badRequest, "display_name has \(name.utf8.count) bytes; at most 128.", field: "display_name")
            }
            server.displayName = name
        }
        if let command = change.command {
            guard server.isProgram || server.url == ToolServer.programURL else {
                throw AppError(
                    .badRequest, "'\(server.name)' is at a URL: register a program under a name of its own.", field: "command")
            }
            try ToolServerCheck.check(command: command)
            server.command = command
        }
        if server.isProgram {
            try ToolServerCheck.check(program: change)
            if let environment = change.environment {
                try ToolServerCheck.check(environment: environment)
                server.headers = environment
            }
        } else {
            if change.environment != nil {
                throw AppError(.badRequest, "Only a server that is a program has an environment.", field: "environment")
            }
            if let url = change.url { server.url = url }
            try ToolServerCheck.check(url: server.url)
        }
        if let isEnabled = change.isEnabled { server.isEnabled = isEnabled }
        if let allows = change.allowsPrivateAddresses { server.allowsPrivateAddresses = allows }
        if let auth = change.auth { server.auth = auth }
        if let allow = change.allow { server.rules.allow = allow }
        if let deny = change.deny { server.rules.deny = deny }
        try ToolServerCheck.check(patterns: server.rules.allow, field: "allow_tools")
        try ToolServerCheck.check(patterns: server.rules.deny, field: "deny_tools")
        if let timeout = change.timeoutSeconds {
            try ToolServerCheck.check(timeout: timeout)
            server.timeout = .seconds(timeout)
        }
        if let client = change.oauthClientID {
            guard client.utf8.count <= 512, client.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw AppError(
                    .badRequest, "oauth_client_id must be at most 512 printable ASCII characters.", field: "oauth_client_id")
            }
            server.oauthClientID = client.isEmpty ? nil : client
        }
        if let injection = change.injection { server.injection = injection }
        // Of a program the same field is its environment.
        if let headers = change.headers, !server.isProgram {
            try ToolServerCheck.check(headers: headers)
            server.headers = headers
        }
    }

    private static func fact(_ principal: Principal, _ kind: String, _ server: ToolServer) throws -> AuditFacts.Fact {
        try AuditFacts.Fact(
            organization: principal.organization, actor: principal.user, kind: kind, subject: server.name,
            [
                "url": server.url, "enabled": "\(server.isEnabled)", "allow_private": "\(server.allowsPrivateAddresses)",
                "auth": server.auth.rawValue, "allow_tools": server.rules.allow.joined(separator: " "),
                "deny_tools": server.rules.deny.joined(separator: " "), "timeout_seconds": "\(server.timeoutSeconds)",
                "headers": server.headers.map(\.name).joined(separator: " "), "oauth_client_id": server.oauthClientID ?? "",
                "inject": server.injection.rawValue, "command": server.command.joined(separator: " "),
            ])
    }

    static func moved(_ name: String) -> AppError {
        AppError(
            .conflict,
            "The URL of the MCP server '\(name)' was changed meanwhile: look at it with 'slipway mcp show \(name)', then sign in again."
        )
    }

    static func missing(_ name: String) -> AppError {
        AppError(.notFound, "There is no MCP server named '\(name)'; 'slipway mcp list' shows them.", field: "server")
    }
}
