import Core
import NIOConcurrencyHelpers

/// The one gate that every call passes, whatever entrance it comes through: shutdown, bounds, how many are under way.
package final class Admission: Sendable {
    package struct Limits: Sendable {
        /// Calls under way in this process.
        package var concurrency: Int
        package var bodyBytes: Int
        /// Ended calls that wait to be booked while the database is away; beyond it new calls are refused.
        package var pendingSettlements: Int

        package init(concurrency: Int = 5000, bodyBytes: Int = 32 << 20, pendingSettlements: Int = 10_000) {
            self.concurrency = concurrency
            self.bodyBytes = bodyBytes
            self.pendingSettlements = pendingSettlements
        }
    }

    private struct State {
        var inFlight = 0
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    package let limits: Limits
    private let state = NIOLockedValueBox(State())

    package init(limits: Limits) { self.limits = limits }

    package var inFlight: Int { state.withLockedValue { $0.inFlight } }
    package var isClosed: Bool { state.withLockedValue { $0.isClosed } }

    /// Lets a call in; `leave` must follow.
    ///
    /// - Throws: `unavailable` during shutdown and when too many are under way, `tooLarge`.
    func enter(bodyBytes: Int) throws {
        guard bodyBytes <= limits.bodyBytes else {
            throw AppError(
                .tooLarge, "The request body has \(bodyBytes) bytes; at most \(limits.bodyBytes) are taken.", field: "body")
        }
        try state.withLockedValue { state in
            if state.isClosed {
                throw AppError(
                    .unavailable, "The server is shutting down; try again, another one will answer.", retry: .after(.seconds(1)))
            }
            guard state.inFlight < limits.concurrency else {
                throw AppError(
                    .unavailable, "The server has \(limits.concurrency) calls under way, which is its limit; try again soon.",
                    retry: .after(.seconds(2)))
            }
            state.inFlight += 1
        }
    }

    func leave() {
        let waiters = state.withLockedValue { state -> [CheckedContinuation<Void, Never>] in
            state.inFlight -= 1
            guard state.inFlight == 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func close() { state.withLockedValue { $0.isClosed = true } }

    /// Returns when no call is under way.
    func empty() async {
        await withCheckedContinuation { continuation in
            let isEmpty = state.withLockedValue { state in
                if state.inFlight > 0 { state.waiters.append(continuation) }
                return state.inFlight == 0
            }
            if isEmpty { continuation.resume() }
        }
    }
}
