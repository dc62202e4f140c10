/// Which of two attempts at one call gets to answer it: the first whose head is no failure; where both fail, the one that failed last. A
/// second attempt is held before it is sent, and at most one is made. A pure rule.
struct HedgeRace: Sendable, Equatable {
    enum Runner: Sendable { case first, second }

    enum Event: Sendable, Equatable {
        /// The first attempt has had its time.
        case due
        /// What the second one may cost is held.
        case held
        case notHeld
        /// A head came. One that another attempt could better (`AttemptVerdict`) wins only when no other attempt is left.
        case answered(Runner, isGood: Bool)
        case failed(Runner)
    }

    enum Action: Sendable, Equatable {
        case wait
        case hold
        case send
        /// Gives back what was held: it is not needed any more.
        case release
        /// The race is over with the outcome of this one; the other is ended, if it is still under way.
        case end(Runner)
    }

    private enum Second: Sendable { case none, holding, running, out }

    private var isFirstOut = false
    private var second = Second.none
    private(set) var winner: Runner?

    mutating func handle(_ event: Event) -> Action {
        switch event {
        case .due:
            guard winner == nil, second == .none else { return .wait }
            second = .holding
            return .hold
        case .held:
            guard second == .holding, winner == nil else {
                second = .out
                return .release
            }
            second = .running
            return .send
        case .notHeld:
            second = .out
            return .wait
        case .answered(let runner, isGood: true):
            guard winner == nil else { return .wait }
            winner = runner
            return .end(runner)
        case .answered(let runner, isGood: false), .failed(let runner): return out(runner)
        }
    }

    private mutating func out(_ runner: Runner) -> Action {
        guard winner == nil else { return .wait }
        switch runner {
        case .first:
            isFirstOut = true
            if second == .running { return .wait }
        case .second:
            second = .out
            if !isFirstOut { return .wait }
        }
        winner = runner
        return .end(runner)
    }
}
