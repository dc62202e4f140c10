import CPostgres
import Core
import Logging
import NIOConcurrencyHelpers

/// A bounded set of connections to one database. Connections are opened when first needed and reopened, with back-off, when lost.
package final class PostgresPool: Sendable {
    package let configuration: PostgresConfiguration
    private let logger: Logger
    private let state: NIOLockedValueBox<State>

    private struct State {
        var machine: PoolMachine
        var connections: [Int: PostgresConnection] = [:]
        var waiters: [Int: Waiter] = [:]
        var count = 0
        var lastFailure: String?
        var closers: [CheckedContinuation<Void, Never>] = []
        var isClosed = false

        mutating func next() -> Int {
            count += 1
            return count
        }
    }

    private struct Waiter {
        var continuation: CheckedContinuation<Lease, any Error>
        var stopTimer: @Sendable () -> Void
        var isCancelled = false
    }

    private struct Lease: Sendable {
        var id: Int
        var connection: PostgresConnection
    }

    /// Opens nothing yet.
    package init(configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        state = .init(State(machine: PoolMachine(limit: configuration.maxConnections)))
    }

    // MARK: Statements

    /// The rows of one statement, which is a transaction of its own. Prepared once per connection and text.
    ///
    /// - Throws: `PostgresError`; `AppError(.unavailable)` when no connection came free in time; `CancellationError`, then PostgreSQL
    ///   was asked to stop, but the statement may have been committed.
    package func query(_ query: Query) async throws -> [Row] { try await withConnection { try await $0.query(query) } }

    /// - Returns: rows that were inserted, updated, deleted or selected.
    /// - Throws: as `query`.
    @discardableResult
    package func execute(_ query: Query) async throws -> Int { try await withConnection { try await $0.execute(query) } }

    /// Lends a connection. One that comes back with a transaction open, or with a statement under way, is closed.
    ///
    /// - Throws: `AppError(.unavailable)` when no connection came free in time; what `body` throws.
    @discardableResult
    package func withConnection<Value: Sendable>(_ body: (PostgresConnection) async throws -> Value) async throws -> Value {
        let lease = try await acquire()
        do {
            let value = try await body(lease.connection)
            giveBack(lease)
            return value
        } catch {
            giveBack(lease)
            throw error
        }
    }

    /// See `PostgresConnection.withTransaction`.
    @discardableResult
    package func withTransaction<Value: Sendable>(
        synchronousCommit: Bool = true, _ body: (PostgresConnection) async throws -> Value
    ) async throws -> Value {
        try await withConnection { try await $0.withTransaction(synchronousCommit: synchronousCommit, body) }
    }

    /// All statements of `body`, which may only read, see the database as it was at one moment.
    package func withSnapshot<Value: Sendable>(_ body: (PostgresConnection) async throws -> Value) async throws -> Value {
        try await withTransaction { connection in
            try await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return try await body(connection)
        }
    }

    /// Refuses new callers, waits for lent connections (at most `grace`, then cuts them), closes all. Idempotent.
    package func close(grace: Duration = .seconds(3)) async {
        let stopTimer = PostgresLoop.shared.schedule(after: grace) { [self] in
            for connection in state.withLockedValue({ Array($0.connections.values) }) { connection.channel.submitClose() }
        }
        await withCheckedContinuation { continuation in
            let isClosed = state.withLockedValue {
                if !$0.isClosed { $0.closers.append(continuation) }
                return $0.isClosed
            }
            if isClosed { continuation.resume() }
            feed(.close)
        }
        stopTimer()
    }

    /// How many connections are lent, idle, and how many callers wait.
    package var load: (lent: Int, idle: Int, waiting: Int) {
        state.withLockedValue { ($0.machine.lent.count, $0.machine.idle.count, $0.machine.waitingCount) }
    }

    // MARK: Leases

    private func acquire() async throws -> Lease {
        try Task.checkCancellation()
        if let lease = acquireIdle() { return lease }
        let waiter = state.withLockedValue { $0.next() }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let stopTimer = PostgresLoop.shared.schedule(after: configuration.acquireTimeout) { [self] in feed(.gaveUp(waiter))
                }
                state.withLockedValue { $0.waiters[waiter] = Waiter(continuation: continuation, stopTimer: stopTimer) }
                feed(.wanted(by: waiter))
                // Cancelled before the waiter was known.
                if Task.isCancelled { cancel(waiter) }
            }
        } onCancel: {
            cancel(waiter)
        }
    }

    /// The usual case, without a timer and a continuation.
    private func acquireIdle() -> Lease? {
        state.withLockedValue { state in
            guard !state.machine.idle.isEmpty, !state.machine.isClosing else { return nil }
            guard case .lend(let id, _)? = state.machine.handle(.wanted(by: state.next())).first else { return nil }
            return state.connections[id].map { Lease(id: id, connection: $0) }
        }
    }

    private func cancel(_ waiter: Int) {
        state.withLockedValue { $0.waiters[waiter]?.isCancelled = true }
        feed(.gaveUp(waiter))
    }

    private func giveBack(_ lease: Lease) {
        if lease.connection.channel.isClean { feed(.returned(lease.id)) } else { lease.connection.channel.submitClose() }
    }

    // MARK: The machine's shell

    private func feed(_ event: PoolMachine.Event) {
        var work: [() -> Void] = []
        state.withLockedValue { state in
            for action in state.machine.handle(event) { work.append(prepare(action, &state)) }
        }
        for step in work { step() }
    }

    /// Takes out of the state what the action needs; the returned work runs without the lock.
    private func prepare(_ action: PoolMachine.Action, _ state: inout State) -> () -> Void {
        switch action {
        case .lend(let id, let waiterID):
            guard let waiter = state.waiters.removeValue(forKey: waiterID), let connection = state.connections[id] else {
                return {}
            }
            return {
                waiter.stopTimer()
                waiter.continuation.resume(returning: Lease(id: id, connection: connection))
            }
        case .refuse(let waiterID):
            guard let waiter = state.waiters.removeValue(forKey: waiterID) else { return {} }
            let error: any Error = waiter.isCancelled ? CancellationError() : refusal(state)
            return {
                waiter.stopTimer()
                waiter.continuation.resume(throwing: error)
            }
        case .open: return { [self] in open() }
        case .retry(let delay):
            return { [self] in PostgresLoop.shared.schedule(after: delay) { [self] in feed(.retryDue) } }
        case .discard(let id):
            let connection = state.connections.removeValue(forKey: id)
            return { connection?.channel.submitClose() }
        case .closed:
            state.isClosed = true
            let closers = state.closers
            state.closers = []
            return { for closer in closers { closer.resume() } }
        }
    }

    private func refusal(_ state: State) -> AppError {
        if state.machine.isClosing { return AppError(.unavailable, "The server is shutting down.", retry: .after(.seconds(1))) }
        if let failure = state.lastFailure {
            return AppError(.unavailable, "The database cannot be reached.", detail: failure, retry: .after(.seconds(1)))
        }
        return AppError(
            .unavailable, "The database is busy: all \(configuration.maxConnections) connections are in use.",
            retry: .after(.seconds(1)))
    }

    private func open() {
        // Not awaited: its outcome is an event; `close` waits for it.
        Task {
            do {
                let channel = try await Connector.connect(configuration)
                let id = state.withLockedValue {
                    let id = $0.next()
                    $0.connections[id] = PostgresConnection(channel)
                    $0.lastFailure = nil
                    return id
                }
                channel.observe(onLoss: { [self] reason in
                    logger.debug("database connection lost", metadata: ["reason": "\(reason.message)"])
                    state.withLockedValue { state in _ = state.connections.removeValue(forKey: id) }
                    feed(.lost(id))
                })
                feed(.connected(id))
            } catch {
                let reason = (error as? PostgresError)?.message ?? (error as? AppError)?.message ?? "\(error)"
                let isNew = state.withLockedValue { state in
                    defer { state.lastFailure = reason }
                    return state.lastFailure != reason
                }
                if isNew { logger.warning("cannot connect to the database", metadata: ["reason": "\(reason)"]) }
                feed(.connectFailed)
            }
        }
    }
}
