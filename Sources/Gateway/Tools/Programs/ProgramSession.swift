import Core
import Foundation
import Logging
import ModelAPI
import NIOConcurrencyHelpers

/// A server of tools that is a program, for all users of its organization: started when it is needed, and again when it has ended.
final class ProgramSession: ToolLink {
    static let patience = Duration.seconds(15)
    private static let listAge = Duration.seconds(60)
    /// Requests of the program's own that wait for our answer.
    private static let mostReplies = 64

    private enum Event: Sendable {
        case action(MCPExchange.Action)
        case ended, late
    }

    private struct Pending {
        var exchange: MCPExchange
        var events: AsyncStream<Event>.Continuation
    }

    private struct State {
        /// Told apart from those before it.
        var run = 0
        var program: (any ToolProgram)?
        var outgoing: AsyncStream<String>.Continuation?
        var startedAt = ContinuousClock.now
        var opening: Task<Void, any Error>?
        var restarts = ProgramRestarts()
        var lastID = 0
        var replies = 0
        var pending: [MCPID: Pending] = [:]
        var tools: (list: [MCPTool], at: ContinuousClock.Instant)?
        var usedAt = ContinuousClock.now
        var isClosed = false
        var lastWords = ""
    }

    let version: String
    private let server: ToolServer
    private let starter: any ToolProgramStarter
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(_ access: ToolServerStore.Access, _ starter: any ToolProgramStarter, logger: Logger) {
        server = access.server
        version = access.version
        self.starter = starter
        self.logger = logger
    }

    /// The server's, as it was when this was begun.
    var updatedAt: Date { server.updatedAt }
    var idleSince: ContinuousClock.Instant? { state.withLockedValue { $0.pending.isEmpty ? $0.usedAt : nil } }

    // MARK: What it is used for

    func tools() async throws -> [MCPTool] {
        if let known = state.withLockedValue({ $0.tools }), known.at.duration(to: .now) < Self.listAge { return known.list }
        try await open()
        let list = try await ToolListing.read(within: min(server.timeout, Self.patience), of: server.name) { params, left in
            try await self.request("tools/list", params, within: left)
        }
        state.withLockedValue { $0.tools = (list, .now) }
        return list
    }

    func call(_ call: MCPToolCall, tool: String, progress: @escaping @Sendable (String) async -> Void) async throws -> String {
        try await open()
        // Users share the program: their tokens must not meet.
        let token =
            call.progressToken == nil ? nil : "\"slipway-\(state.withLockedValue { $0.lastID })-\(UInt64.random(in: 0 ... .max))\""
        return try await request(
            "tools/call", call.params(tool: tool, progressToken: token), within: server.timeout, token: token, progress: progress)
    }

    /// Ends the program.
    func close() async {
        let program = state.withLockedValue { state in
            state.isClosed = true
            state.outgoing?.finish()
            return state.program
        }
        await program?.stop()
    }

    // MARK: Its life

    /// Returns when it runs and has said hello.
    private func open() async throws {
        let opening = try state.withLockedValue { state in
            state.usedAt = .now
            if let opening = state.opening { return opening }
            if state.isClosed { throw failure("is being stopped") }
            if let wait = state.restarts.wait(at: .now) {
                let words = state.lastWords.isEmpty ? "" : ": \(state.lastWords.storable(upTo: 300))"
                throw AppError(
                    .unavailable,
                    "The program of the MCP server '\(server.name)' has ended\(words). It is started again in \(max(1, Int((wait / .seconds(1)).rounded(.up)))) s.",
                    source: .upstream, retry: .after(wait))
            }
            // Awaited right below, by everybody who needs it.
            let opening = Task { try await self.start() }
            state.opening = opening
            return opening
        }
        try await opening.value
    }

    private func start() async throws {
        let run = state.withLockedValue { state in
            state.run += 1
            state.startedAt = .now
            return state.run
        }
        do {
            try await start(run)
        } catch {
            let program = state.withLockedValue { $0.run == run ? $0.program : nil }
            // One that does not say hello rests like one that has ended, before it is stopped: that takes its time.
            ended(run)
            await program?.stop()
            throw error
        }
    }

    private func start(_ run: Int) async throws {
        let (lines, line) = AsyncStream.makeStream(of: String.self)
        let environment = Dictionary(server.headers.map { ($0.name, $0.value) }) { $1 }
        let program = try starter.start(server.command, environment: environment) { [weak self] text in
            self?.said(text, run)
        } onEnd: { [weak self] in
            self?.ended(run)
        }
        let runs = state.withLockedValue { state in
            // It may have ended already.
            guard state.run == run, !state.isClosed else { return false }
            (state.program, state.outgoing) = (program, line)
            return true
        }
        // Nobody awaits it: it writes line after line, whoever says it, and ends with `outgoing`, which whatever ends the run finishes.
        Task {
            for await text in lines {
                do { try await program.send(text, within: Self.patience) } catch { break }
            }
            await program.stop()
        }
        guard runs else {
            line.finish()
            let words = program.lastWords.storable(upTo: 300)
            state.withLockedValue { $0.lastWords = words }
            throw failure(words.isEmpty ? "ended at once" : "ended at once: \(words)")
        }
        let params = """
            {"protocolVersion":"\(MCP.newestVersion)","capabilities":{},"clientInfo":{"name":"slipway","version":"0.1.0"}}
            """
        let result = try await request("initialize", params, within: min(server.timeout, Self.patience))
        guard let version = JSONObjectText(result)?.string("protocolVersion"), MCP.programVersions.contains(version) else {
            throw failure("speaks another version of the protocol than \(MCP.programVersions.joined(separator: " or "))")
        }
        tell(.notification(method: "notifications/initialized", params: nil))
    }

    /// Of no effect for a run that is over.
    private func ended(_ run: Int) {
        let pending = state.withLockedValue { state -> [Pending]? in
            guard state.run == run else { return nil }
            state.lastWords = state.program?.lastWords ?? ""
            if !state.isClosed { state.restarts.ended(at: .now, startedAt: state.startedAt) }
            state.run += 1
            state.outgoing?.finish()
            (state.program, state.outgoing, state.opening, state.tools) = (nil, nil, nil, nil)
            defer { state.pending = [:] }
            return Array(state.pending.values)
        }
        guard let pending else { return }
        logger.info("the program of an MCP server has ended", metadata: ["server": "\(server.name)"])
        for one in pending { one.events.yield(.ended) }
    }

    // MARK: Requests

    private func request(
        _ method: String, _ params: String, within limit: Duration, token: String? = nil,
        progress: @escaping @Sendable (String) async -> Void = { _ in }
    ) async throws -> String {
        let (events, event) = AsyncStream.makeStream(of: Event.self)
        let id = state.withLockedValue { state in
            state.lastID += 1
            let id = MCPID(state.lastID)
            state.pending[id] = Pending(exchange: MCPExchange(id: id, progressToken: token), events: event)
            return id
        }
        defer {
            state.withLockedValue { state in
                state.pending[id] = nil
                state.usedAt = .now
            }
        }
        guard tell(.request(id: id, method: method, params: params)) else { throw failure("has ended") }
        // Awaited through the events, right below, and cancelled when the request is over.
        let timer = Task {
            try? await Task.sleep(for: limit)
            event.yield(.late)
        }
        defer { timer.cancel() }
        for await event in events {
            switch event {
            case .action(.finished(.success(let result))): return result
            case .action(.finished(.failure(let error))): throw error
            case .action(.progress(let params)): await progress(params)
            case .action(.reply), .action(.toolsChanged): continue
            case .ended:
                let words = state.withLockedValue { $0.lastWords }.storable(upTo: 300)
                throw failure("ended before it answered" + (words.isEmpty ? "" : ": \(words)"))
            case .late:
                withdraw(id, "timed out")
                let seconds = max(1, Int((limit / .seconds(1)).rounded(.up)))
                throw AppError(
                    .timeout, "The MCP server '\(server.name)' did not answer within \(seconds) seconds.", source: .upstream)
            }
        }
        withdraw(id, "cancelled")
        throw CancellationError()
    }

    /// What the program says. What is no message of the protocol is nobody's.
    private func said(_ text: String, _ run: Int) {
        guard let message = try? MCPMessage.parse(text) else { return }
        switch message {
        case .result(let id, _), .failure(let id?, _): handle(message, for: id)
        case .failure(nil, _): break
        case .notification("notifications/tools/list_changed", _): state.withLockedValue { $0.tools = nil }
        case .notification("notifications/progress", _):
            for id in state.withLockedValue({ Array($0.pending.keys) }) { handle(message, for: id) }
        case .notification: break
        case .request(let id, let method, _):
            let mayReply = state.withLockedValue { state in
                state.replies += 1
                // Bounded by what it is asked itself.
                return state.replies <= Self.mostReplies + 16 * state.lastID
            }
            guard mayReply else { return }
            tell(
                method == "ping"
                    ? .result(id: id, result: "{}")
                    : .failure(id: id, MCPError(MCPError.methodNotFound, "The client does not offer \(method.prefix(80)).")))
        }
    }

    private func handle(_ message: MCPMessage, for id: MCPID) {
        let (actions, events) = state.withLockedValue { state -> ([MCPExchange.Action], AsyncStream<Event>.Continuation?) in
            guard var pending = state.pending[id] else { return ([], nil) }
            let actions = pending.exchange.handle(message)
            state.pending[id] = pending
            return (actions, pending.events)
        }
        for action in actions { events?.yield(.action(action)) }
    }

    private func withdraw(_ id: MCPID, _ reason: String) {
        tell(.notification(method: "notifications/cancelled", params: "{\"requestId\":\(id.json),\"reason\":\"\(reason)\"}"))
    }

    /// - Returns: false when it does not run.
    @discardableResult private func tell(_ message: MCPMessage) -> Bool {
        guard let outgoing = state.withLockedValue({ $0.outgoing }) else { return false }
        outgoing.yield(message.text)
        return true
    }

    private func failure(_ what: String) -> AppError {
        AppError(.upstream, "The program of the MCP server '\(server.name)' \(what).", source: .upstream)
    }
}
