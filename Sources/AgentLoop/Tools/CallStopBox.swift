import NIOConcurrencyHelpers

/// Tells a running call to stop. Only what waits is cut short: an effect that was begun is never left half-known without saying so.
final class CallStopBox: Sendable {
    private struct State {
        var stop: CallStop?
        var cancel: (@Sendable () -> Void)?
    }

    private let state = NIOLockedValueBox(State())

    var stop: CallStop? { state.withLockedValue(\.stop) }

    func set(_ stop: CallStop) {
        let cancel = state.withLockedValue { state in
            state.stop = stop
            return state.cancel
        }
        cancel?()
    }

    /// Runs `body` such that it is cancelled by a stop, and not begun after one.
    ///
    /// - Throws: what `body` throws; `CancellationError` after a stop.
    func waiting<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        // Awaited right below; a task of its own so that the call itself is not cancelled.
        let task = Task { try await body() }
        let isStopped = state.withLockedValue { state in
            state.cancel = { task.cancel() }
            return state.stop != nil
        }
        if isStopped { task.cancel() }
        defer { state.withLockedValue { $0.cancel = nil } }
        return try await withTaskCancellationHandler {
            let value = try await task.value
            if stop != nil { throw CancellationError() }
            return value
        } onCancel: {
            task.cancel()
        }
    }
}
