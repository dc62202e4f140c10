import Core
import NIOConcurrencyHelpers

/// Calls that wait for a place under a limit on concurrency, a line per limit. Lines are this process's own; who is first in one tries
/// when a call of this process was settled, and every 200 ms, since places come free on other replicas, too.
final class LimitLines: Sendable {
    enum Turn: Sendable { case isNext, timeIsUp, isClosed }

    private struct Place {
        var line: WaitingLine
        var waiting: [UInt64: CheckedContinuation<Turn, Never>] = [:]
    }

    private struct State {
        var places: [RateUse: Place] = [:]
        var lastID: UInt64 = 0
        var isClosed = false
    }

    private let longest: Int
    private let state = NIOLockedValueBox(State())

    init(longest: Int) { self.longest = longest }

    /// How many wait.
    var count: Int { state.withLockedValue { $0.places.values.reduce(0) { $0 + $1.line.count } } }

    /// The first of these in which somebody waits already: who comes later goes behind.
    func occupied(_ uses: [RateUse]) -> RateUse? {
        state.withLockedValue { state in state.places.isEmpty ? nil : uses.first { state.places[$0] != nil } }
    }

    /// Nil: the line is full, or closed.
    func join(_ use: RateUse, _ turn: CallClass, until deadline: ContinuousClock.Instant) -> UInt64? {
        let (id, pushedOut) = state.withLockedValue { state -> (UInt64?, CheckedContinuation<Turn, Never>?) in
            if state.isClosed { return (nil, nil) }
            state.lastID += 1
            var place = state.places[use] ?? Place(line: WaitingLine(longest: longest))
            let joined = place.line.join(.init(id: state.lastID, turn: turn, deadline: deadline))
            let pushedOut = joined.pushedOut.flatMap { place.waiting.removeValue(forKey: $0) }
            if joined.isIn { state.places[use] = place }
            return (joined.isIn ? state.lastID : nil, pushedOut)
        }
        pushedOut?.resume(returning: .timeIsUp)
        return id
    }

    /// Returns when it is this one's turn to try. Afterwards `passed`, `failed` or `leave` must follow.
    func wait(_ id: UInt64, in use: RateUse) async -> Turn {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let turn = state.withLockedValue { state -> Turn? in
                    if state.isClosed { return .isClosed }
                    guard var place = state.places[use] else { return .timeIsUp }
                    // It was told before it listened.
                    if place.line.trying == id { return .isNext }
                    guard place.line.contains(id) else { return .timeIsUp }
                    place.waiting[id] = continuation
                    state.places[use] = place
                    return nil
                }
                if let turn { continuation.resume(returning: turn) }
            }
        } onCancel: {
            let continuation = state.withLockedValue { $0.places[use]?.waiting.removeValue(forKey: id) }
            leave(id, in: use)
            continuation?.resume(returning: .timeIsUp)
        }
    }

    func passed(_ id: UInt64, in use: RateUse) { change(use) { $0.passed(id) } }

    /// Who had no success stays where it is, unless its time is up.
    func failed(_ id: UInt64, in use: RateUse) { change(use) { $0.failed(id) } }

    func leave(_ id: UInt64, in use: RateUse) {
        change(use) { line in
            let wasTrying = line.trying == id
            line.leave(id)
            return wasTrying ? line.wake() : nil
        }
    }

    /// Places may have come free.
    func wake() {
        let uses = state.withLockedValue { Array($0.places.keys) }
        for use in uses { change(use) { $0.wake() } }
    }

    /// Those whose time is up are told so; the first of each line tries.
    func tick() {
        let now = ContinuousClock.now
        let late = state.withLockedValue { state -> [CheckedContinuation<Turn, Never>] in
            if state.places.isEmpty { return [] }
            var late: [CheckedContinuation<Turn, Never>] = []
            for use in Array(state.places.keys) {
                guard var place = state.places[use] else { continue }
                late += place.line.expire(now).compactMap { place.waiting.removeValue(forKey: $0) }
                state.places[use] = place.line.isEmpty ? nil : place
            }
            return late
        }
        for continuation in late { continuation.resume(returning: .timeIsUp) }
        wake()
    }

    /// Nobody waits any more, now and later.
    func close() {
        let waiting = state.withLockedValue { state -> [CheckedContinuation<Turn, Never>] in
            state.isClosed = true
            defer { state.places = [:] }
            return state.places.values.flatMap(\.waiting.values)
        }
        for continuation in waiting { continuation.resume(returning: .isClosed) }
    }

    private func change(_ use: RateUse, _ change: (inout WaitingLine) -> UInt64?) {
        let continuation = state.withLockedValue { state -> CheckedContinuation<Turn, Never>? in
            guard var place = state.places[use] else { return nil }
            let next = change(&place.line)
            let continuation = next.flatMap { place.waiting.removeValue(forKey: $0) }
            state.places[use] = place.line.isEmpty ? nil : place
            return continuation
        }
        continuation?.resume(returning: .isNext)
    }
}
