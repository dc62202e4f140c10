import Core
import Logging
import NIOConcurrencyHelpers

/// Knows what has been started and closes it by the `ShutdownPlan`; a start that fails at one part closes those before it.
package final class Lifecycle: Sendable {
    /// A started part. Closing must be idempotent: it is called once here, but may run into a part that ended by itself.
    private struct Running: Sendable {
        var part: ServerPart
        var close: @Sendable () async -> Void
        /// Called on the second signal: what waits for builds cancels them instead.
        var hurry: (@Sendable () -> Void)?
    }

    private struct State {
        var running: [Running] = []
        var isClosing = false
        var failure: (any Error)?
        var onFailure: CheckedContinuation<Void, Never>?
    }

    private let plan: ShutdownPlan
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    package init(plan: ShutdownPlan, logger: Logger) {
        self.plan = plan
        self.logger = logger
    }

    /// Notes a started part and how it is closed.
    package func started(
        _ part: ServerPart, hurry: (@Sendable () -> Void)? = nil, close: @escaping @Sendable () async -> Void
    ) {
        state.withLockedValue { $0.running.append(Running(part: part, close: close, hurry: hurry)) }
    }

    /// Runs something until the part's turn comes; `stop` asks it to end, then it is cancelled and awaited.
    ///
    /// When it ends by itself, before, the server cannot do its work: `failed()` returns.
    package func run(
        _ part: ServerPart, stop: (@Sendable () async -> Void)? = nil, _ body: @escaping @Sendable () async throws -> Void
    ) {
        // Awaited by the part's close below.
        let task = Task { [self] in
            do {
                try await body()
                ended(part, with: nil)
            } catch {
                ended(part, with: error)
            }
        }
        started(part) {
            await stop?()
            task.cancel()
            await task.value
        }
    }

    private func ended(_ part: ServerPart, with error: (any Error)?) {
        let waiting: CheckedContinuation<Void, Never>? = state.withLockedValue { state in
            guard !state.isClosing, state.failure == nil else { return nil }
            state.failure = error ?? AppError(.internal, "The part '\(part.rawValue)' ended while the server was running.")
            defer { state.onFailure = nil }
            return state.onFailure
        }
        waiting?.resume()
    }

    /// Returns when a part has ended by itself; `failure` says why. Call it once.
    package func failed() async {
        await withCheckedContinuation { continuation in
            let isKnown = state.withLockedValue { state in
                if state.failure == nil { state.onFailure = continuation }
                return state.failure != nil
            }
            if isKnown { continuation.resume() }
        }
    }

    package var failure: (any Error)? { state.withLockedValue { $0.failure } }

    /// The second signal: whatever can be cut short is.
    package func hurry() {
        for running in state.withLockedValue({ $0.running }) { running.hurry?() }
    }

    /// Closes everything that was started, by the plan. A second call returns at once.
    package func close() async {
        let running = state.withLockedValue { state in
            defer { state.isClosing = true }
            return state.isClosing ? [] : state.running
        }
        guard !running.isEmpty else { return }
        let clock = ContinuousClock()
        let begin = clock.now
        for phase in plan.phases {
            let phaseBegin = clock.now
            let bound = plan.bound(of: phase, after: begin.duration(to: phaseBegin))
            let closed = NIOLockedValueBox<Set<ServerPart>>([])
            let isDone = await Deadline.within(bound) {
                for group in phase.groups {
                    await withDiscardingTaskGroup { tasks in
                        for part in group {
                            // What was started last ends first.
                            let parts = running.filter { $0.part == part }.reversed()
                            tasks.addTask {
                                for part in parts { await part.close() }
                                closed.withLockedValue { _ = $0.insert(part) }
                            }
                        }
                    }
                }
            }
            if !isDone {
                let open = phase.groups.joined().filter { part in
                    running.contains { $0.part == part } && !closed.withLockedValue { $0.contains(part) }
                }
                logger.warning(
                    "Shutdown phase '\(phase.name)' did not end within \(bound); going on.",
                    metadata: ["open": "\(open.map(\.rawValue).joined(separator: ","))"])
            }
            logger.debug("Shutdown phase '\(phase.name)' took \(phaseBegin.duration(to: clock.now).milliseconds) ms.")
        }
        logger.info("Closed in \(begin.duration(to: clock.now).milliseconds) ms.")
    }
}
