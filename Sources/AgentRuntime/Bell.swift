import NIOConcurrencyHelpers
import NIOCore

/// Lets many wait for "something changed", each with his own patience.
///
/// Read `generation`, look, then wait for a later one: a ring in between is not missed.
final class Bell: Sendable {
    private struct State {
        var generation: UInt64 = 0
        var next = 0
        var waiting: [Int: EventLoopPromise<Void>] = [:]
    }

    private let state = NIOLockedValueBox(State())
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    var generation: UInt64 { state.withLockedValue { $0.generation } }

    func ring() {
        let waiting = state.withLockedValue { state in
            state.generation += 1
            defer { state.waiting = [:] }
            return state.waiting
        }
        for promise in waiting.values { promise.succeed() }
    }

    /// Returns at a ring after `generation`, at the deadline, or when the task is cancelled.
    func wait(after generation: UInt64, until deadline: NIODeadline) async {
        let promise = loop.makePromise(of: Void.self)
        let ticket = state.withLockedValue { state -> Int? in
            guard state.generation == generation else { return nil }
            state.next += 1
            state.waiting[state.next] = promise
            return state.next
        }
        guard let ticket else { return promise.succeed() }
        let timer = loop.scheduleTask(deadline: deadline) { promise.succeed() }
        await withTaskCancellationHandler {
            try? await promise.futureResult.get()
        } onCancel: {
            promise.succeed()
        }
        timer.cancel()
        state.withLockedValue { $0.waiting[ticket] = nil }
    }
}
