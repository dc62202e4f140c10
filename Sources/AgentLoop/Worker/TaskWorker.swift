import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres
import ServiceLifecycle

/// Takes tasks and advances them: one per server process. Nothing of a task is in its memory alone.
package final class TaskWorker: Service {
    private struct Owned {
        var runner: TaskRunner
        var task: Task<Void, Never>
    }

    private enum Phase { case working, draining, leaving, left }

    private struct State {
        var phase = Phase.working
        var owned: [TaskID: Owned] = [:]
        /// Runs in a row that broke off by themselves, so that a task that always does ends in a failure.
        var breaks: [TaskID: Int] = [:]
        /// Who waits for the end of a drain that another has begun.
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private static let mostBreaks = 5
    /// For whoever shuts it down without a word about time.
    private static let grace = Duration.seconds(20)

    /// New with each start: the leases of an earlier process of this replica are nobody's.
    package let id = UUID()
    private let replica: ReplicaID
    private let leases: LeaseStore
    private let environment: LoopEnvironment
    private let state = NIOLockedValueBox(State())
    private let look = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    package init(replica: ReplicaID, leases: LeaseStore, environment: LoopEnvironment) {
        self.replica = replica
        self.leases = leases
        self.environment = environment
    }

    private var logger: Logger { environment.logger }
    var isWorking: Bool { state.withLockedValue { $0.phase == .working } }

    /// Tasks it has at the moment.
    package var load: Int { state.withLockedValue { $0.owned.count } }

    /// Works until it is drained or cancelled.
    package func run() async throws {
        await withGracefulShutdownHandler {
            await self.work()
        } onGracefulShutdown: {
            self.look.continuation.finish()
        }
    }

    private func work() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.heartbeat() }
            group.addTask { await self.tick() }
            group.addTask { for await _ in self.environment.bus.changes(.work) { self.look.continuation.yield() } }
            for await _ in look.stream {
                if !isWorking { break }
                await poll()
            }
            // The heartbeat goes on meanwhile: a task whose answer may still end is not to look abandoned to other workers.
            await drain(grace: Task.isCancelled ? .zero : Self.grace)
            group.cancelAll()
        }
    }

    // MARK: Staying alive

    private func heartbeat() async {
        var isRegistered = false
        while !Task.isCancelled, state.withLockedValue({ $0.phase == .working || $0.phase == .draining }) {
            do {
                if isRegistered {
                    isRegistered = try await leases.renew(worker: id)
                    if !isRegistered { continue }
                } else {
                    try await leases.register(worker: id, replica: replica)
                    isRegistered = true
                    look.continuation.yield()
                }
            } catch is CancellationError { return } catch {
                logger.warning("the worker's heartbeat failed", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: environment.settings.heartbeatInterval)
        }
    }

    private func tick() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: environment.settings.pollInterval)
            look.continuation.yield()
        }
    }

    // MARK: Taking tasks

    private func poll() async {
        do {
            try await lookAfterOwned()
            let room = environment.settings.maxTasks - load
            guard room > 0 else { return }
            for lease in try await leases.claim(worker: id, limit: room) { start(lease) }
        } catch is CancellationError {} catch {
            logger.warning("the worker could not look for tasks", metadata: ["error": "\(error)"])
        }
    }

    private func lookAfterOwned() async throws {
        let before = state.withLockedValue { $0.owned.mapValues(\.runner) }
        let rows = try await leases.owned(by: id)
        let current = Dictionary(uniqueKeysWithValues: rows.map { ($0.lease.task, $0) })
        for (task, runner) in before where current[task]?.lease != runner.lease { runner.abort() }
        for (task, row) in current {
            if let runner = before[task] {
                if let by = row.interruptBy { runner.stop(.interrupt, by: by) }
            } else if state.withLockedValue({ $0.owned[task] == nil }) {
                // Ours, but its runner broke off: it goes on from the rows.
                start(row.lease)
            }
        }
    }

    private func start(_ lease: Lease) {
        let runner = TaskRunner(lease, environment)
        state.withLockedValue { state in
            guard state.phase == .working, state.owned[lease.task] == nil else { return }
            // Awaited by `drain`; it takes itself off the list at its end.
            let task = Task { await self.run(runner) }
            state.owned[lease.task] = Owned(runner: runner, task: task)
        }
    }

    private func run(_ runner: TaskRunner) async {
        let lease = runner.lease
        var breaks = 0
        var isWaiting = false
        do {
            try await runner.run()
            state.withLockedValue { $0.breaks[lease.task] = nil }
        } catch is LeaseLost {
            logger.info("a task went to another worker", metadata: ["task": "\(lease.task)"])
        } catch let error where Self.isOfDatabase(error) {
            // Not the task's doing: it goes on when the database does.
            isWaiting = true
            logger.warning("a task waits for the database", metadata: ["task": "\(lease.task)", "error": "\(error)"])
        } catch {
            breaks = state.withLockedValue { state in
                state.breaks[lease.task, default: 0] += 1
                return state.breaks[lease.task] ?? 0
            }
            logger.error("a task's run broke off", metadata: ["task": "\(lease.task)", "error": "\(error)", "times": "\(breaks)"])
        }
        if breaks >= Self.mostBreaks { await fail(lease) }
        state.withLockedValue { $0.owned[lease.task] = nil }
        // Room for another; a broken one waits for the next tick.
        if breaks == 0, !isWaiting { look.continuation.yield() }
    }

    private static func isOfDatabase(_ error: any Error) -> Bool {
        if let error = error as? PostgresError { return error.isTransient }
        guard let error = error as? AppError else { return false }
        return error.code == .unavailable && error.source == .server
    }

    private func fail(_ lease: Lease) async {
        let message = "The server could not go on with this task after several attempts; its log says why. Resume it to try again."
        do {
            _ = try await environment.store.finish(
                lease, .failed(.internal, message: message), interruptedBy: nil, cost: nil)
            state.withLockedValue { $0.breaks[lease.task] = nil }
            environment.bus.changed(lease.task, .events)
        } catch { logger.error("a task could not be failed", metadata: ["task": "\(lease.task)", "error": "\(error)"]) }
    }

    // MARK: Leaving

    /// Hands everything over: an open answer may end within `grace`; what waits is left to the next owner at once. Idempotent; a
    /// second call returns when the first does.
    package func drain(grace: Duration) async {
        let owned = state.withLockedValue { state -> [Owned]? in
            guard state.phase == .working else { return nil }
            state.phase = .draining
            return Array(state.owned.values)
        }
        guard let owned else { return await untilLeft() }
        look.continuation.finish()
        for owned in owned { owned.runner.stop(.drain) }
        if !owned.isEmpty { await finish(owned, grace: grace) }
        // No heartbeat from here on: it would make the worker known again.
        state.withLockedValue { $0.phase = .leaving }
        if await !handOver() {
            logger.warning(
                "The database did not take the hand-over of this server's tasks; another one takes them four seconds after it is back.",
                metadata: ["tasks": "\(owned.count)"])
        }
        for owned in owned { environment.bus.changed(owned.runner.lease.task, .work) }
        let waiters = state.withLockedValue { state in
            defer { state.waiters = [] }
            state.phase = .left
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private func finish(_ owned: [Owned], grace: Duration) async {
        let all: @Sendable () async -> Void = { for owned in owned { await owned.task.value } }
        if await Deadline.within(grace, all) { return }
        for owned in owned { owned.runner.abort() }
        // One that waits for a database that hangs does not hear of it.
        await uncancelled { _ = await Deadline.within(.seconds(1), all) }
    }

    /// Whether the database took it.
    private func handOver() async -> Bool {
        let isDone = NIOLockedValueBox(false)
        await uncancelled { [self] in
            // A database that hangs must not hold the end.
            _ = await Deadline.within(.seconds(3)) { [self] in
                do {
                    try await leases.unregister(worker: id)
                    isDone.withLockedValue { $0 = true }
                } catch { logger.debug("handing over failed", metadata: ["error": "\(error)"]) }
            }
        }
        return isDone.withLockedValue { $0 }
    }

    /// What has to be done although the worker itself was cancelled. Awaited at once.
    private func uncancelled(_ body: @escaping @Sendable () async -> Void) async { await Task { await body() }.value }

    private func untilLeft() async {
        await withCheckedContinuation { continuation in
            let hasLeft = state.withLockedValue { state in
                if state.phase != .left { state.waiters.append(continuation) }
                return state.phase == .left
            }
            if hasLeft { continuation.resume() }
        }
    }
}
