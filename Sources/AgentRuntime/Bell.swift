import NIOConcurrencyHelpers
import NIOCore

/// Lets many wait for "something changed", each with his own patience.
///
/// Read `generation`, look, then wait for a later one: a ring in between is not missed.
final class Bell: Sendable {
    private struct State {
        var generation: UInt64 = 0
        var next = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = NIOLockedValueBox(State())
    /// For the timers alone: whoever rings resumes those who wait without a detour over it.
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    var generation: UInt64 { state.withLockedValue { $0.generation } }

    func ring() {
        let waiting = state.withLockedValue { state in
            state.generation += 1
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume() }
    }

    /// Returns at a ring after `generation`, at the deadline, or when the task is cancelled.
    func wait(after generation: UInt64, until deadline: NIODeadline) async {
        let ticket = state.withLockedValue { state in
            state.next += 1
            return state.next
        }
        let timer = loop.scheduleTask(deadline: deadline) { self.release(ticket) }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLockedValue { state in
                    if state.generation != generation || Task.isCancelled || NIODeadline.now() >= deadline { return true }
                    state.waiting[ticket] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            release(ticket)
        }
        timer.cancel()
    }

    private func release(_ ticket: Int) { state.withLockedValue { $0.waiting.removeValue(forKey: ticket) }?.resume() }
}
