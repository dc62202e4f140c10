import AgentProtocol
import Core
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Which agents are connected to this server process. One connection per workspace: a newer one replaces the older.
package final class AgentSessions: Sendable {
    package enum Change: Sendable {
        /// The sandbox's id is random per start: another one means that what ran before is gone.
        case connected(sandbox: String, version: String)
        case disconnected
    }

    private struct State {
        var connections: [WorkspaceID: AgentConnection] = [:]
        var calls: [ObjectIdentifier: any Channel] = [:]
        var waiting: [WorkspaceID: [Int: EventLoopPromise<AgentConnection>]] = [:]
        /// Agents that keep coming and cannot be understood.
        var refused: [WorkspaceID: AppError] = [:]
        var nextTicket = 0
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())
    private let logger: Logger
    private let onChange: @Sendable (WorkspaceID, Change) -> Void
    private let onLog: @Sendable (WorkspaceID, AgentLogLines) -> Void

    /// - Parameters:
    ///   - onChange: Called on an event loop; must not block.
    ///   - onLog: Hears what agents say of themselves; must not block.
    package init(
        logger: Logger, onChange: @escaping @Sendable (WorkspaceID, Change) -> Void = { _, _ in },
        onLog: @escaping @Sendable (WorkspaceID, AgentLogLines) -> Void = { _, _ in }
    ) {
        (self.logger, self.onChange, self.onLog) = (logger, onChange, onLog)
    }

    /// The agents that are connected here.
    package var connected: [WorkspaceID] { state.withLockedValue { Array($0.connections.keys) } }

    /// The connection there is; nil if the agent is not connected here.
    package func present(_ workspace: WorkspaceID) -> AgentConnection? {
        state.withLockedValue { $0.connections[workspace] }.flatMap { $0.isOpen ? $0 : nil }
    }

    /// The workspace's agent; waits for it to (re)connect.
    ///
    /// - Throws: `AppError` `.timeout` (retry: now) when it does not, `.unavailable` when this server is shutting down or the agent is
    ///   of another build.
    package func connection(for workspace: WorkspaceID, within patience: Duration) async throws -> AgentConnection {
        if let connection = present(workspace) { return connection }
        let promise = MultiThreadedEventLoopGroup.singleton.next().makePromise(of: AgentConnection.self)
        enum Found {
            case ready(AgentConnection)
            case ticket(Int)
            case closed
            case refused(AppError)
        }
        let found = state.withLockedValue { state -> Found in
            if state.isClosed { return .closed }
            if let connection = state.connections[workspace], connection.isOpen { return .ready(connection) }
            if let reason = state.refused[workspace] { return .refused(reason) }
            state.nextTicket += 1
            state.waiting[workspace, default: [:]][state.nextTicket] = promise
            return .ticket(state.nextTicket)
        }
        switch found {
        case .ready(let connection):
            promise.succeed(connection)
            return connection
        case .closed:
            promise.fail(Self.closing)
            throw Self.closing
        case .refused(let reason):
            promise.fail(reason)
            throw reason
        case .ticket(let ticket):
            defer { forget(ticket, workspace) }
            let timer = promise.futureResult.eventLoop.scheduleTask(in: TimeAmount(patience)) {
                promise.fail(
                    AppError(
                        .timeout, "The agent of workspace \(workspace) did not connect within \(patience).", source: .server,
                        retry: .now))
            }
            defer { timer.cancel() }
            return try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                promise.fail(CancellationError())
            }
        }
    }

    /// Ends a workspace's connections: its token was revoked, or it was stopped.
    package func disconnect(_ workspace: WorkspaceID) {
        state.withLockedValue { state in
            state.refused[workspace] = nil
            return state.connections.removeValue(forKey: workspace)
        }?.close()
    }

    /// An agent that speaks no version which this server does: whoever waits for it is told, until it is stopped or another comes.
    func refuse(_ workspace: WorkspaceID, versions: [Int]) {
        let reason = AppError(
            .unavailable,
            "The agent of workspace \(workspace) (sandbox/agent below --libexec) speaks versions \(versions) of the tunnel, this server "
                + "\(ProtocolVersion.spoken): they are of different builds. Run: make tools agent, then stop and start the workspace."
        )
        let (waiting, isNews) = state.withLockedValue { state in
            let isNews = state.refused.updateValue(reason, forKey: workspace) == nil
            return (state.waiting.removeValue(forKey: workspace) ?? [:], isNews)
        }
        if isNews { logger.error("\(reason.message)") }
        for promise in waiting.values { promise.fail(reason) }
    }

    /// Tells every agent to reconnect elsewhere and waits, at most a second, until their connections ended.
    package func close() async {
        let (connections, calls, waiting) = state.withLockedValue { state in
            defer { (state.isClosed, state.connections, state.calls, state.waiting) = (true, [:], [:], [:]) }
            return (Array(state.connections.values), Array(state.calls.values), state.waiting)
        }
        for promise in waiting.values.flatMap(\.values) { promise.fail(Self.closing) }
        for connection in connections { connection.close() }
        for channel in calls { channel.close(promise: nil) }
        let channels = connections.map(\.channel) + calls
        guard let loop = channels.first?.eventLoop else { return }
        let over = loop.makePromise(of: Void.self)
        let timer = loop.scheduleTask(in: .seconds(1)) {
            for channel in channels { channel.close(mode: .all, promise: nil) }
            over.succeed()
        }
        EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop).whenComplete { _ in over.succeed() }
        try? await over.futureResult.get()
        timer.cancel()
    }

    private func forget(_ ticket: Int, _ workspace: WorkspaceID) {
        state.withLockedValue { state in
            state.waiting[workspace]?[ticket] = nil
            if state.waiting[workspace]?.isEmpty == true { state.waiting[workspace] = nil }
        }
    }

    private static let closing = AppError(
        .unavailable, "This server is shutting down; another one, or this one restarted, goes on.", retry: .now)
}

// MARK: - Connections that come

extension AgentSessions {
    /// On the connection's event loop, when its hello was accepted.
    func add(_ tunnel: Tunnel, _ hello: Hello, _ workspace: WorkspaceID) {
        switch hello.role {
        case .serve: addServing(tunnel, hello, workspace)
        case .call: addCalling(tunnel, workspace)
        }
    }

    private func addServing(_ tunnel: Tunnel, _ hello: Hello, _ workspace: WorkspaceID) {
        let connection = AgentConnection(workspace: workspace, hello: hello, tunnel: tunnel)
        let (old, waiting, isClosed) = state.withLockedValue { state in
            if state.isClosed { return (nil as AgentConnection?, [:] as [Int: EventLoopPromise<AgentConnection>], true) }
            state.refused[workspace] = nil
            let old = state.connections.updateValue(connection, forKey: workspace)
            return (old, state.waiting.removeValue(forKey: workspace) ?? [:], false)
        }
        if isClosed { return connection.close() }
        old?.close()
        logger.debug(
            "agent connected", metadata: ["workspace": "\(workspace)", "sandbox": "\(hello.sandbox)", "start": "\(hello.start)"])
        onChange(workspace, .connected(sandbox: hello.sandbox, version: hello.agent))
        for promise in waiting.values { promise.succeed(connection) }
        tunnel.channel.closeFuture.whenComplete { _ in
            let isLast = self.state.withLockedValue { state -> Bool in
                guard state.connections[workspace] === connection else { return false }
                state.connections[workspace] = nil
                return true
            }
            guard isLast else { return }
            self.logger.debug("agent disconnected", metadata: ["workspace": "\(workspace)"])
            self.onChange(workspace, .disconnected)
        }
    }

    private func addCalling(_ tunnel: Tunnel, _ workspace: WorkspaceID) {
        let key = ObjectIdentifier(tunnel.channel)
        let isClosed = state.withLockedValue { state -> Bool in
            if !state.isClosed { state.calls[key] = tunnel.channel }
            return state.isClosed
        }
        if isClosed { return tunnel.goAway() }
        tunnel.channel.closeFuture.whenComplete { _ in self.state.withLockedValue { $0.calls[key] = nil } }
        // Ends with the connection, which `close()` ends.
        Task { await AgentCalls(workspace: workspace, onLog: onLog, logger: logger).answer(tunnel) }
    }
}
