import Core
import Foundation
import HTTPTransport
import Logging
import ModelAPI
import NIOConcurrencyHelpers
import Postgres
import Telemetry

/// Every call of a tool through Slipway passes here: decided, recorded, sent, and recorded again before its result is told.
package final class ToolGateway: Sendable {
    /// Calls under way in this process, and of one user.
    static let mostCalls = 1000
    static let mostCallsOfUser = 64

    package let servers: ToolServerService
    package let logins: ToolLogins
    package let calls: ToolCallStore
    let sessions: ToolSessions
    private let programs: ProgramSessions
    private let offered = OfferedListings()
    private let recorder: ToolRecorder
    private let settings: SettingsCache
    private let transport: HTTPTransport
    private let replica: ReplicaID
    private let logger: Logger
    private let meter: ToolMeter
    private let tracer: Tracer?
    private let open = NIOLockedValueBox(Open())

    private struct Open {
        var isClosed = false
        var last: UInt64 = 0
        var tasks: [UInt64: Task<Void, Never>] = [:]
        var ofUser: [UserID: Int] = [:]
        var count = 0

        /// - Throws: `unavailable`, `rateLimited` beyond the bounds.
        mutating func enter(_ user: UserID) throws {
            if isClosed {
                throw AppError(
                    .unavailable, "The server is shutting down; try again, another one will answer.", retry: .after(.seconds(1)))
            }
            guard count < ToolGateway.mostCalls else {
                throw AppError(
                    .unavailable, "\(ToolGateway.mostCalls) calls of tools are under way, which is the limit.",
                    retry: .after(.seconds(2)))
            }
            guard ofUser[user, default: 0] < ToolGateway.mostCallsOfUser else {
                throw AppError(
                    .rateLimited, "You have \(ToolGateway.mostCallsOfUser) calls of tools under way, which is the limit.",
                    retry: .after(.seconds(2)))
            }
            count += 1
            ofUser[user, default: 0] += 1
        }

        mutating func leave(_ user: UserID) {
            count -= 1
            let left = ofUser[user, default: 1] - 1
            ofUser[user] = left > 0 ? left : nil
        }
    }

    init(_ configuration: GatewayConfiguration, facts: AuditFacts, settings: SettingsCache) {
        self.settings = settings
        let pool = configuration.pool
        programs = ProgramSessions(configuration.programs, logger: configuration.logger)
        servers = ToolServerService(
            store: ToolServerStore(pool: pool, keys: configuration.keys), facts: facts, settings: settings, programs: programs)
        logins = ToolLogins(servers: servers, transport: configuration.transport)
        calls = ToolCallStore(pool: pool)
        sessions = ToolSessions(pool: pool)
        recorder = ToolRecorder(pool: pool, replica: configuration.replica, patience: configuration.patience)
        transport = configuration.transport
        replica = configuration.replica
        logger = configuration.logger
        meter = ToolMeter(configuration.metrics)
        tracer = configuration.tracer
    }

    /// Who calls a tool, and where from.
    struct Caller: Sendable {
        var principal: Principal
        var session: ToolSession
        var requestID: String
        /// The span it is made in, as the client says.
        var traceParent: TraceContext?
    }

    // MARK: Tools

    /// The tools that somebody may use, of all servers; and why those of some are missing, by server.
    func tools(_ caller: Caller) async throws -> (tools: [(server: String, tool: MCPTool)], missing: [String: String]) {
        try await counting(caller.principal.user) { try await listed(caller, { _ in true }) { try await $1() } }
    }

    /// The same of these servers, for a model call: it waits for none of them for long, needs none of them, and counts with the calls of
    /// models alone.
    ///
    /// - Throws: `CancellationError`.
    func offered(_ caller: Caller, of names: Set<String>) async throws -> (
        tools: [(server: String, tool: MCPTool)], missing: [String: String]
    ) {
        do {
            let listed = try await listed(caller, { names.contains($0) }) { [offered] access, list in
                try await offered.tools(access, caller.principal.user, list)
            }
            try Task.checkCancellation()
            return listed
        } catch {
            if error is CancellationError || Task.isCancelled { throw CancellationError() }
            logger.warning("The tools of MCP servers cannot be put into a model call: \(error)")
            let message = MCPError(anything: error).message
            return ([], Dictionary(uniqueKeysWithValues: names.map { ($0, message) }))
        }
    }

    /// - Parameter list: asks one of them.
    private func listed(
        _ caller: Caller, _ isWanted: (String) -> Bool,
        _ list:
            @escaping @Sendable (ToolServerStore.Access, @escaping @Sendable () async throws -> [MCPTool]) async throws -> [MCPTool]
    ) async throws -> (tools: [(server: String, tool: MCPTool)], missing: [String: String]) {
        let accesses = try await servers.store.all(caller.principal).filter { $0.server.isEnabled && isWanted($0.server.name) }
        let guarding = ToolGuard(try settings.current(), caller.principal, client: caller.session.client)
        return await withTaskGroup(of: (ToolServerStore.Access, Result<[MCPTool], any Error>).self) { group in
            var missing: [String: String] = [:]
            for access in accesses {
                if access.needsLogin {
                    missing[access.server.name] = Self.needsLogin(access.server.name).message
                    continue
                }
                group.addTask { [self] in
                    do {
                        let tools = try await list(access) {
                            let fresh = try await self.logins.fresh(access, caller.principal)
                            return try await self.link(fresh, caller.session).tools()
                        }
                        return (access, .success(tools))
                    } catch { return (access, .failure(error)) }
                }
            }
            var tools: [(server: String, tool: MCPTool)] = []
            for await (access, list) in group {
                let server = access.server
                switch list {
                case .success(let list):
                    // What is refused whatever it is called with is not even shown.
                    tools += list.filter {
                        server.rules.decide(server: server.name, tool: $0.name).isAllowed
                            && guarding?.refusesAlways(server: server.name, tool: $0.name) != true
                    }.map { (server.name, $0) }
                case .failure(let known as OfferedListings.Known):
                    missing[server.name] = MCPError(anything: known.error).message
                case .failure(let error):
                    missing[server.name] = MCPError(anything: error).message
                    logger.warning("The tools of an MCP server cannot be listed: \(error)", metadata: ["server": "\(server.name)"])
                }
            }
            return (tools, missing)
        }
    }

    /// Every tool of one server with what is decided about it.
    package func tools(of name: String, _ principal: Principal) async throws -> [(tool: MCPTool, decision: ToolDecision)] {
        try await counting(principal.user) { try await listed(name, principal) }
    }

    private func listed(_ name: String, _ principal: Principal) async throws -> [(tool: MCPTool, decision: ToolDecision)] {
        let access = try await usable(principal, name)
        let session = ToolSession(id: nil, user: principal.user, version: MCP.newestVersion, client: "slipway")
        do {
            let tools = try await link(access, session).tools()
            await session.close()
            return tools.map { ($0, access.server.rules.decide(server: name, tool: $0.name)) }
        } catch {
            await session.close()
            throw AppError(toolServer: error)
        }
    }

    // MARK: Calls

    /// For a model: the result of a tool that is injected into its calls. When the task that waits is cancelled, so is the call.
    func called(_ call: MCPToolCall, _ caller: Caller) async -> Result<String, any Error> {
        let outcome = NIOLockedValueBox<Result<String, any Error>>(.failure(CancellationError()))
        do {
            let task = try run(caller.principal.user) {
                do {
                    let result = try await self.call(call, caller) { _ in }
                    outcome.withLockedValue { $0 = .success(result) }
                } catch {
                    outcome.withLockedValue { $0 = .failure(error) }
                }
            }
            await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
        } catch {
            return .failure(error)
        }
        return outcome.withLockedValue { $0 }
    }

    /// The result of a tool, as JSON.
    ///
    /// - Throws: `MCPError`; `CancellationError` when the client withdrew the call, which is then on record as cancelled.
    func call(
        _ call: MCPToolCall, _ caller: Caller, progress: @escaping @Sendable (String) async -> Void
    ) async throws -> String {
        guard let separator = call.name.range(of: MCP.separator) else { throw Self.unknown(call.name) }
        let (name, tool) = (String(call.name[..<separator.lowerBound]), String(call.name[separator.upperBound...]))
        guard MCPTool.isUsable(tool) else { throw Self.unknown(call.name) }
        let access: ToolServerStore.Access
        do { access = try await usable(caller.principal, name) } catch let error as AppError {
            throw error.code == .notFound ? Self.unknown(call.name) : MCPError(anything: error)
        }
        var decision = access.server.rules.decide(server: name, tool: tool)
        var call = call
        let guarding: ToolGuard?
        do { guarding = ToolGuard(try settings.current(), caller.principal, client: caller.session.client) } catch {
            throw MCPError(anything: error)
        }
        let judged = guarding?.judge(server: name, tool: tool, arguments: call.arguments)
        if decision.isAllowed, let ruled = judged?.decision { decision = ruled }
        var record = record(call, tool: tool, access.server, decision, caller)
        if let judged {
            record.arguments = judged.recorded.storable
            record.findings = judged.findings
            call.arguments = judged.arguments
        }
        let trace = tracer.map { ToolTrace($0, record, in: caller.traceParent) }
        guard decision.isAllowed else {
            trace?.ended(.refused)
            throw await refuse(record, decision)
        }
        let link: any ToolLink
        do {
            link = try self.link(access, caller.session)
            try await recorder.record(.call(record))
        } catch { throw MCPError(anything: error) }
        return try await perform(call, record, link, guarding, trace, progress)
    }

    private func perform(
        _ call: MCPToolCall, _ record: ToolCallRecord, _ upstream: any ToolLink, _ guarding: ToolGuard?,
        _ trace: ToolTrace?,
        _ progress: @escaping @Sendable (String) async -> Void
    ) async throws -> String {
        let began = ContinuousClock.now
        var outcome: Result<String, any Error>
        var findings: [ContentFinding] = []
        do {
            var result = try await upstream.call(call, tool: record.tool, progress: progress).storable
            var refusal: MCPError?
            if let guarding { (result, refusal, findings) = guarding.judge(result: result) }
            outcome = refusal.map { .failure($0) } ?? .success(result)
        } catch {
            outcome = .failure(error)
        }
        var ended = ToolResultRecord(
            call: record.id, organization: record.organization, status: .ok, result: "", duration: began.duration(to: .now))
        ended.findings = findings
        switch outcome {
        case .success(let result):
            ended.status = JSONObjectText(result)?["isError"] == "true" ? .toolError : .ok
            ended.result = result
        case .failure(let error):
            let isTimeout = (error as? AppError)?.code == .timeout
            let isRefused = findings.contains { $0.effect == .blocked }
            ended.status = error is CancellationError ? .cancelled : isTimeout ? .timeout : isRefused ? .refused : .error
            ended.error = error is CancellationError ? "cancelled" : MCPError(anything: error).message.storable(upTo: 2000)
        }
        meter.ended(ended.status)
        trace?.ended(ended.status)
        do { try await recorder.record(.result(ended)) } catch { throw MCPError(anything: error) }
        do { return try outcome.get() } catch let error as CancellationError { throw error } catch {
            throw MCPError(anything: error)
        }
    }

    private func refuse(_ record: ToolCallRecord, _ decision: ToolDecision) async -> MCPError {
        let reason =
            switch decision {
            case .allow: ""
            case .deny(_, let reason): reason
            case .approval(_, let reason):
                "\(reason) Nobody can approve single calls here: ask an admin for a rule that allows it."
            }
        let result = ToolResultRecord(
            call: record.id, organization: record.organization, status: .refused, result: "", error: reason.storable(upTo: 2000),
            duration: .zero)
        meter.ended(.refused)
        do { try await recorder.record(.both(record, result)) } catch { return MCPError(anything: error) }
        return .refused(reason, rule: decision.rule)
    }

    private func record(
        _ call: MCPToolCall, tool: String, _ server: ToolServer, _ decision: ToolDecision, _ caller: Caller
    ) -> ToolCallRecord {
        ToolCallRecord(
            organization: caller.principal.organization, user: caller.principal.user, token: caller.principal.token,
            task: caller.principal.task, session: caller.session.id, client: caller.session.client, serverID: server.id,
            server: server.name, tool: tool, toolUseID: call.toolUseID?.storable, decision: decision.name,
            rule: decision.rule.storable(upTo: 500), arguments: call.arguments.storable, requestID: caller.requestID,
            replica: replica)
    }

    /// - Throws: `unavailable` for a program that cannot be isolated here.
    private func link(_ access: ToolServerStore.Access, _ session: ToolSession) throws -> any ToolLink {
        access.server.isProgram ? try programs.session(access) : session.upstream(access, transport)
    }

    private func usable(_ principal: Principal, _ name: String) async throws -> ToolServerStore.Access {
        let access = try await servers.access(principal, name)
        guard access.server.isEnabled else {
            throw AppError(.forbidden, "The MCP server '\(name)' is disabled; an admin can enable it.")
        }
        if access.needsLogin { throw Self.needsLogin(name) }
        return try await logins.fresh(access, principal)
    }

    private static func needsLogin(_ name: String) -> AppError {
        AppError(.forbidden, "You are not signed in to the MCP server '\(name)': use 'slipway mcp login \(name)'.")
    }

    private static func unknown(_ name: String) -> MCPError {
        MCPError(
            MCPError.invalidParams,
            "There is no tool '\(name.prefix(200))'; tools/list (slipway mcp tools) names them, as <server>__<tool>.",
            data: "{\"code\":\"not_found\"}")
    }

    // MARK: Life

    /// Runs `body` in a task that outlives its request: a client that leaves has not withdrawn its call.
    ///
    /// - Throws: `unavailable`, `rateLimited` beyond the bounds.
    func run(_ user: UserID, _ body: @escaping @Sendable () async -> Void) throws -> Task<Void, Never> {
        try open.withLockedValue { open in
            try open.enter(user)
            open.last += 1
            let number = open.last
            // Awaited by `drain`.
            let task = Task {
                await body()
                self.ended(number, user)
            }
            open.tasks[number] = task
            return task
        }
    }

    private func ended(_ number: UInt64, _ user: UserID) {
        open.withLockedValue { open in
            open.tasks[number] = nil
            open.leave(user)
        }
    }

    /// Counts what asks servers without calling a tool, e.g. for their lists, with the calls: it takes as much of this one.
    private func counting<Value>(_ user: UserID, _ body: () async throws -> Value) async throws -> Value {
        try open.withLockedValue { try $0.enter(user) }
        defer { open.withLockedValue { $0.leave(user) } }
        return try await body()
    }

    /// Background work until it is cancelled.
    func run() async {
        var turns = 0
        while !Task.isCancelled {
            recorder.expire()
            turns += 1
            if turns % 60 == 0 {
                await sessions.sweep()
                await programs.sweep(servers.store)
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// Takes no new calls, lets those under way end within `grace`, then cancels them. Sessions go on at another replica.
    func drain(grace: Duration) async {
        let tasks = open.withLockedValue { open in
            open.isClosed = true
            return Array(open.tasks.values)
        }
        _ = await Deadline.within(grace) { for task in tasks { await task.value } }
        for task in tasks { task.cancel() }
        _ = await Deadline.within(.seconds(2)) { for task in tasks { await task.value } }
        async let programsEnd = Deadline.within(.seconds(5)) { await self.programs.closeAll() }
        _ = await Deadline.within(.seconds(1)) { await self.sessions.closeAll() }
        _ = await programsEnd
        _ = await Deadline.within(.seconds(2)) { await self.recorder.idle() }
    }
}
