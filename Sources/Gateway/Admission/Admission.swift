import Core
import NIOConcurrencyHelpers

/// The one gate that every call passes, whatever entrance it comes through: shutdown, bounds, how many are under way.
package final class Admission: Sendable {
    package struct Limits: Sendable {
        /// Calls under way in this process; each holds two connections and some 50 KiB.
        package var concurrency: Int
        package var bodyBytes: Int
        /// Ended calls that wait to be booked while the database is away; beyond it new calls are refused.
        package var pendingSettlements: Int
        /// Calls that wait for a place, in this process or under one limit on concurrency; beyond it they are refused at once.
        package var queueLength: Int
        /// How long a call waits for a place.
        package var queueTime: Duration

        package init(
            concurrency: Int = 10_000, bodyBytes: Int = 32 << 20, pendingSettlements: Int = 10_000, queueLength: Int = 200,
            queueTime: Duration = .seconds(10)
        ) {
            self.queueLength = queueLength
            self.queueTime = queueTime
            self.concurrency = concurrency
            self.bodyBytes = bodyBytes
            self.pendingSettlements = pendingSettlements
        }
    }

    private struct State {
        var inFlight = 0
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var line: WaitingLine
        var queued: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        var lastQueued: UInt64 = 0
    }

    package let limits: Limits
    private let state: NIOLockedValueBox<State>

    package init(limits: Limits) {
        self.limits = limits
        state = .init(State(line: WaitingLine(longest: limits.queueLength)))
    }

    package var inFlight: Int { state.withLockedValue { $0.inFlight } }
    /// How many wait for a place in this process.
    var waiting: Int { state.withLockedValue { $0.line.count } }
    package var isClosed: Bool { state.withLockedValue { $0.isClosed } }

    private static let isClosing = AppError(
        .unavailable, "The server is shutting down; try again, another one will answer.", retry: .after(.seconds(1)))

    private var isFull: AppError {
        AppError(
            .rateLimited,
            "The server has \(limits.concurrency) calls under way, which is its limit, and no place came free in time; try again soon.",
            source: .server, retry: .after(.seconds(2)))
    }

    /// Lets a call in; `leave` must follow. Where all places are taken it waits for one, those first that somebody waits for.
    ///
    /// - Throws: `unavailable` during shutdown, `rateLimited` when no place came free in time or too many wait, `tooLarge`.
    func enter(bodyBytes: Int, turn: CallClass = .interactive) async throws {
        guard bodyBytes <= limits.bodyBytes else {
            throw AppError(
                .tooLarge, "The request body has \(bodyBytes) bytes; at most \(limits.bodyBytes) are taken.", field: "body")
        }
        let place = try state.withLockedValue { state -> UInt64? in
            if state.isClosed { throw Self.isClosing }
            if state.inFlight < limits.concurrency, state.line.isEmpty {
                state.inFlight += 1
                return nil
            }
            state.lastQueued += 1
            return state.lastQueued
        }
        if let place { try await queue(place, turn) }
    }

    private func queue(_ id: UInt64, _ turn: CallClass) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (entered, pushedOut) = state.withLockedValue {
                    state -> (Result<Void, any Error>?, CheckedContinuation<Void, any Error>?) in
                    if Task.isCancelled { return (.failure(CancellationError()), nil) }
                    if state.isClosed { return (.failure(Self.isClosing), nil) }
                    if state.inFlight < limits.concurrency, state.line.isEmpty {
                        state.inFlight += 1
                        return (.success(()), nil)
                    }
                    let joined = state.line.join(.init(id: id, turn: turn, deadline: .now + limits.queueTime))
                    guard joined.isIn else { return (.failure(isFull), nil) }
                    state.queued[id] = continuation
                    return (nil, joined.pushedOut.flatMap { state.queued.removeValue(forKey: $0) })
                }
                pushedOut?.resume(throwing: isFull)
                if let entered { continuation.resume(with: entered) }
            }
        } onCancel: {
            let continuation = state.withLockedValue { state in
                state.line.leave(id)
                return state.queued.removeValue(forKey: id)
            }
            continuation?.resume(throwing: CancellationError())
        }
    }

    func leave() {
        let (waiters, next) = state.withLockedValue {
            state -> ([CheckedContinuation<Void, Never>], CheckedContinuation<Void, any Error>?) in
            // The place is handed on.
            if let id = state.line.wake() {
                state.line.leave(id)
                if let next = state.queued.removeValue(forKey: id) { return ([], next) }
            }
            state.inFlight -= 1
            guard state.inFlight == 0 else { return ([], nil) }
            defer { state.waiters = [] }
            return (state.waiters, nil)
        }
        next?.resume()
        for waiter in waiters { waiter.resume() }
    }

    /// Those who waited long enough are refused.
    func expire() {
        let now = ContinuousClock.now
        let late = state.withLockedValue { state in
            state.line.isEmpty ? [] : state.line.expire(now).compactMap { state.queued.removeValue(forKey: $0) }
        }
        for continuation in late { continuation.resume(throwing: isFull) }
    }

    func close() {
        let queued = state.withLockedValue { state in
            state.isClosed = true
            state.line = WaitingLine(longest: limits.queueLength)
            defer { state.queued = [:] }
            return Array(state.queued.values)
        }
        for continuation in queued { continuation.resume(throwing: Self.isClosing) }
    }

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
