import Core
import NIOConcurrencyHelpers
import NIOPosix

/// Wakes who waits for something to do. A ring that nobody waits for is kept for the next one who does.
final class Bell: Sendable {
    private struct State {
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var count = 0
        var hasRung = false
    }

    private let state = NIOLockedValueBox(State())

    /// Wakes one; who finds more to do than it takes on rings again.
    func ring() {
        let waiter = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
            guard let first = state.waiting.keys.min() else {
                state.hasRung = true
                return nil
            }
            return state.waiting.removeValue(forKey: first)
        }
        waiter?.resume()
    }

    /// Wakes all who wait.
    func ringAll() {
        let waiters = state.withLockedValue { state in
            defer { state.waiting = [:] }
            if state.waiting.isEmpty { state.hasRung = true }
            return Array(state.waiting.values)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns at a ring, at the latest after `patience`, at once when cancelled.
    func wait(_ patience: Duration) async {
        let id = state.withLockedValue { state in
            state.count += 1
            return state.count
        }
        let timer = MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .init(patience)) { self.leave(id) }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLockedValue { state in
                    if state.hasRung || Task.isCancelled {
                        state.hasRung = false
                        return true
                    }
                    state.waiting[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            leave(id)
        }
        timer.cancel()
    }

    private func leave(_ id: Int) { state.withLockedValue { $0.waiting.removeValue(forKey: id) }?.resume() }
}
