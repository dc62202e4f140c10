/// Keeps calls away from a target that fails, and tries it again with one call at a time. A pure value.
///
/// Five failures in a row open it for 5 s; each trial that fails doubles the time, up to 5 minutes. A failure is an answer that did
/// not come or a status of the 5xx kind; being told to slow down is none.
struct CircuitBreaker: Sendable, Equatable {
    static let tolerated = 5
    static let shortest = Duration.seconds(5)
    static let longest = Duration.seconds(300)
    /// A trial of which nothing is heard is given up after this.
    static let trialLimit = Duration.seconds(60)

    private enum State: Equatable {
        case closed(failures: Int)
        case open(until: ContinuousClock.Instant, length: Duration)
        case trial(since: ContinuousClock.Instant, length: Duration)
    }

    private var state = State.closed(failures: 0)

    /// Nil: a call may go, and if the breaker was open, it is the trial. Else how long to stay away.
    mutating func refuses(at now: ContinuousClock.Instant) -> Duration? {
        switch state {
        case .closed: return nil
        case .open(let until, let length):
            if now < until { return until - now }
            state = .trial(since: now, length: length)
            return nil
        case .trial(let since, let length):
            if now - since < Self.trialLimit { return min(length, Self.trialLimit) }
            state = .trial(since: now, length: length)
            return nil
        }
    }

    mutating func succeeded() { state = .closed(failures: 0) }

    mutating func failed(at now: ContinuousClock.Instant) {
        switch state {
        case .closed(let failures):
            state =
                failures + 1 < Self.tolerated
                ? .closed(failures: failures + 1) : .open(until: now + Self.shortest, length: Self.shortest)
        // A call from before it opened.
        case .open: break
        case .trial(_, let length):
            let next = min(length * 2, Self.longest)
            state = .open(until: now + next, length: next)
        }
    }

    var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    /// Nothing to remember.
    var isFresh: Bool { state == .closed(failures: 0) }
}
