import Core
import NIOConcurrencyHelpers

/// Clients that leave before an answer has begun.
extension Gateway {
    /// `relay`, but where its provider is set to `--drain` a call whose client leaves is read on, whole answers as well as streams:
    /// what it used is then known, and booked as `drained`.
    func relayOn(_ record: CallRecord, _ plan: RoutePlan) async throws -> GatewayAnswer {
        guard plan.targets.contains(where: { $0.drain > .zero }) else { return try await relay(record, plan) }
        // Awaited right below, also when the client has left; a shutdown ends its record.
        let task = Task { try await relay(record, plan) }
        let deadline = NIOLockedValueBox<Task<Void, Never>?>(nil)
        defer { deadline.withLockedValue { $0 }?.cancel() }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            let patience = record.leave()
            if patience <= .zero { return task.cancel() }
            let timer = Task {
                // Cancelled when the call has ended.
                guard (try? await Task.sleep(for: patience)) != nil else { return }
                task.cancel()
            }
            deadline.withLockedValue { $0 = timer }
        }
    }
}

extension CallRecord {
    /// Its client is gone.
    /// - Returns: how long the answer of where it is now is read on.
    func leave() -> Duration {
        state.withLockedValue { state in
            state.hasLeft = true
            return state.target.drain
        }
    }

    var hasLeft: Bool { state.withLockedValue { $0.hasLeft } }
}

extension Target {
    /// How long an answer is read on when its client has left.
    var drain: Duration { .seconds(provider.settings.of(model).drainSeconds ?? 0) }
}
