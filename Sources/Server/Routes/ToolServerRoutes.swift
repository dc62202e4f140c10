import API
import Core
import Foundation
import Gateway
import Hummingbird

/// `/api/v2/ai/mcp/servers` and `/api/v2/ai/mcp/calls`.
struct ToolServerRoutes: Sendable {
    let tools: ToolGateway
    let users: UserService
    let accessURL: String

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.mcpServers, .readToolServers, list)
        table.on(.post, APIPaths.mcpServers, .changeToolServers, create)
        table.on(.get, APIPaths.mcpServers + "/{server}", .readToolServers, get)
        table.on(.patch, APIPaths.mcpServers + "/{server}", .changeToolServers, update)
        table.on(.delete, APIPaths.mcpServers + "/{server}", .changeToolServers, delete)
        table.on(.get, APIPaths.mcpServers + "/{server}/tools", .signInToTools, serverTools)
        table.on(.post, APIPaths.mcpServers + "/{server}/login", .signInToTools, authorize)
        table.on(.put, APIPaths.mcpServers + "/{server}/login", .signInToTools, signIn)
        table.on(.delete, APIPaths.mcpServers + "/{server}/login", .signInToTools, signOut)
        table.open(.get, APIPaths.mcpCallback, .showToolCode) { ToolCodePage.response($0) }
        table.on(.get, APIPaths.mcpCalls, .readToolCalls, calls)
        table.on(.get, APIPaths.mcpCalls + "/{call}", .readToolCalls, oneCall)
    }

    // MARK: Servers

    @Sendable func list(_ call: Call) async throws -> Response {
        let servers = try await tools.servers.list(call.principal)
        return try .json(MCPServerList(servers: servers.map { $0.shown(call.reach) }))
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await tools.servers.get(call.principal, name: try call.incoming.path("server")).shown(call.reach))
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(MCPServerRequest.self)
        guard let name = wanted.name else { throw AppError(.badRequest, "name is missing.", field: "name") }
        let server = try await tools.servers.create(call.principal, name: name, try wanted.change)
        return try .json(server.shown(call.reach), status: .created)
    }

    @Sendable func update(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(MCPServerRequest.self)
        let server = try await tools.servers.update(
            call.principal, name: try call.incoming.path("server"), try wanted.change)
        return try .json(server.shown(call.reach))
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await tools.servers.delete(call.principal, name: try call.incoming.path("server"))
        return .noContent
    }

    /// Asks the server, as the user who asks.
    @Sendable func serverTools(_ call: Call) async throws -> Response {
        let name = try call.incoming.path("server")
        let found = try await tools.tools(of: name, call.principal)
        return try .json(
            MCPServerToolList(
                tools: found.map { tool, decision in
                    MCPServerTool(
                        name: tool.name, offeredAs: "\(name)__\(tool.name)", description: tool.description,
                        allowed: decision.isAllowed, rule: decision.rule)
                }))
    }

    // MARK: Users at servers

    @Sendable func authorize(_ call: Call) async throws -> Response {
        let url = try await tools.logins.begin(
            call.principal, name: try call.incoming.path("server"), redirect: accessURL + APIPaths.mcpCallback)
        return try .json(MCPAuthorization(authorizeURL: url))
    }

    @Sendable func signIn(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(MCPLoginRequest.self)
        let name = try call.incoming.path("server")
        if let code = wanted.code {
            try await tools.logins.finish(call.principal, name: name, code: code)
        } else {
            try await tools.servers.signIn(
                call.principal, name: name, (wanted.headers ?? []).map { .init(name: $0.name, value: $0.value) })
        }
        return .noContent
    }

    @Sendable func signOut(_ call: Call) async throws -> Response {
        try await tools.servers.signOut(call.principal, name: try call.incoming.path("server"))
        return .noContent
    }

    // MARK: Calls

    @Sendable func calls(_ call: Call) async throws -> Response {
        var filter = ToolCallFilter()
        if let user = call.incoming.query("initiator") { filter.user = try await users.get(call.principal, user).id }
        filter.server = call.incoming.query("server")
        filter.tool = call.incoming.query("tool")
        filter.decision = call.incoming.query("decision")
        filter.status = call.incoming.query("status")
        filter.task = try call.incoming.query("task_id").map { text in
            guard let id = TaskID(text) else {
                throw AppError(.badRequest, "'\(text.prefix(80))' is no id of a task.", field: "task_id")
            }
            return id
        }
        filter.startedAfter = try call.incoming.queryDate("started_after")
        filter.startedBefore = try call.incoming.queryDate("started_before")
        let found = try await tools.calls.list(scope(call), filter, try call.incoming.page())
        return try .json(MCPCallList(calls: found.items.map(\.shown), after: found.next))
    }

    @Sendable func oneCall(_ call: Call) async throws -> Response {
        let text = try call.incoming.path("call")
        guard let id = UUID(uuidString: text) else {
            throw AppError(.badRequest, "'\(text.prefix(80))' is no id: a UUID is expected.", field: "call")
        }
        return try .json(try await tools.calls.get(scope(call), id).shown)
    }

    private func scope(_ call: Call) -> InterceptionScope { call.reach == .everyones ? .all(call.principal) : .own(call.principal) }
}

extension MCPServerRequest {
    fileprivate var change: ToolServerService.Change {
        get throws {
            var change = ToolServerService.Change()
            change.displayName = displayName
            change.url = url
            change.isEnabled = enabled
            change.allowsPrivateAddresses = allowPrivate
            change.auth = try auth.map { text in
                guard let auth = ToolServer.Auth(rawValue: text) else {
                    throw AppError(
                        .badRequest, "'\(text.prefix(40))' is no kind of log-in; there are none, user and oauth.", field: "auth")
                }
                return auth
            }
            change.allow = allowTools
            change.deny = denyTools
            change.timeoutSeconds = timeoutSeconds
            change.oauthClientID = oauthClientID
            change.injection = try inject.map { text in
                guard let injection = ToolServer.Injection(rawValue: text) else {
                    throw AppError(
                        .badRequest, "inject is '\(text.prefix(40))'; there are never, asked and always.", field: "inject")
                }
                return injection
            }
            change.command = command
            change.environment = environment?.map { .init(name: $0.name, value: $0.value) }
            change.headers = headers?.map { .init(name: $0.name, value: $0.value) }
            return change
        }
    }
}

extension ToolServerService.Listed {
    fileprivate func shown(_ reach: Reach) -> MCPServer {
        MCPServer(
            name: server.name, displayName: server.displayName, url: reach == .everyones ? server.url : nil,
            enabled: server.isEnabled, allowPrivate: server.allowsPrivateAddresses, auth: server.auth.rawValue,
            allowTools: server.rules.allow, denyTools: server.rules.deny, timeoutSeconds: Int(server.timeout.components.seconds),
            headerNames: server.headers.map(\.name), signedIn: isSignedIn,
            inject: server.injection.rawValue, command: server.isProgram && reach == .everyones ? server.command : nil)
    }
}

extension RecordedToolCall {
    fileprivate var shown: MCPCall {
        MCPCall(
            id: id.uuidString.lowercased(), initiatorID: user.description, initiator: username, taskID: task?.description,
            interceptionID: interception?.description, client: client, server: server, tool: tool, toolUseID: toolUseID,
            decision: decision, rule: rule, status: status, arguments: arguments, result: result, error: error,
            durationMicroseconds: microseconds.map { Int($0) }, startedAt: startedAt, endedAt: endedAt,
            findings: findings.isEmpty ? nil : findings.map(\.shown))
    }
}
