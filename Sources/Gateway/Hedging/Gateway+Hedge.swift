import Core
import HTTPTransport

/// Calls of routes whose first attempt is silent for too long.
extension Gateway {
    /// What a race ended with: the attempt that answers, or that failed last.
    struct RaceEnd {
        var attempt: Attempt
        var sent: Sent
        /// What is held for the other attempt, where one was sent.
        var beside: HoldLoop.Grant?
    }

    private enum RaceEvent: Sendable {
        case due
        case held(HedgeHold?)
        case sent(HedgeRace.Runner, Sent)
        case nothing
    }

    /// Sends the first attempt, and a second one when the first has got no head of an answer within its time and the money for both is held.
    /// The loser is ended and booked before this returns.
    func race(
        _ record: CallRecord, _ first: Attempt, _ queue: inout AttemptQueue, _ hedging: Hedging, _ log: inout AttemptLog
    ) async -> RaceEnd {
        let isStream = record.facts.summary.stream
        let delay = hedges.begin(hedging, first.target, isStream: isStream)
        var runs = HedgeRuns(first, isStream: isStream)
        guard let delay, CallClass(record.facts.call) == .interactive else {
            let sent = await send(record, first)
            if case .success(let response) = sent.response, response.status < 300 {
                hedges.took(first.target, isStream: isStream, runs.elapsed(.first))
            }
            return RaceEnd(attempt: first, sent: sent)
        }
        var race = HedgeRace()
        var next = queue
        await withTaskGroup(of: RaceEvent.self) { group in
            group.addTask { .sent(.first, await self.send(record, first)) }
            group.addTask { (try? await Task.sleep(for: delay)) == nil ? .nothing : .due }
            while let event = await group.next() {
                switch act(on: event, record, hedging, &race, &runs, &next, &log) {
                case .wait: break
                case .hold:
                    guard let second = runs.second else { break }
                    group.addTask { .held(await self.hold(record, second)) }
                case .send:
                    guard let second = runs.second else { break }
                    queue = next
                    log.begin(second)
                    runs.sent(.second)
                    group.addTask { .sent(.second, await self.send(record, second)) }
                case .release:
                    if let hold = record.takeBeside() {
                        settle.settle(hold.settlement(.neverSent, hold.target, record.facts))
                    }
                case .end: group.cancelAll()
                }
            }
        }
        return finish(record, race, runs, &log)
    }

    /// What an event means to the race, and what is remembered of it.
    private func act(
        on event: RaceEvent, _ record: CallRecord, _ hedging: Hedging, _ race: inout HedgeRace, _ runs: inout HedgeRuns,
        _ next: inout AttemptQueue, _ log: inout AttemptLog
    ) -> HedgeRace.Action {
        switch event {
        case .nothing: return .wait
        case .due:
            guard race.winner == nil, !record.hasLeft, !record.hasEnded, !admission.isClosed else { return .wait }
            guard hedges.take(hedging) else {
                meters.hedged(runs.first.target, .capped)
                return .wait
            }
            runs.second = next.beside()
            return runs.second == nil ? .wait : race.handle(.due)
        case .held(nil):
            meters.hedged(runs.first.target, .unaffordable)
            return race.handle(.notHeld)
        case .held(let hold?):
            // Nobody waits any more: the client has left, or a shutdown has cut the call.
            guard !Task.isCancelled, record.begin(beside: hold) else {
                settle.settle(hold.settlement(.neverSent, hold.target, record.facts))
                return race.handle(.notHeld)
            }
            runs.hold = hold
            return race.handle(.held)
        case .sent(let runner, let sent):
            runs.came(runner, sent)
            let action: HedgeRace.Action
            if case .success(let response) = sent.response {
                // Behind the end of the race: too late.
                if race.winner != nil { response.body.cancel() }
                action = race.handle(.answered(runner, isGood: runner.isAnswered(by: response)))
            } else {
                action = race.handle(.failed(runner))
            }
            // Out, while the other one is under way.
            if race.winner == nil { drop(runner, sent, runs, &log) }
            return action
        }
    }

    /// Nil: the second attempt is not to be made.
    private func hold(_ record: CallRecord, _ second: Attempt) async -> HedgeHold? {
        let facts = record.facts
        let interception = facts.interception.hedge(of: facts.call.id, at: second.target, facts.grant)
        // All of what is held for the first one: either of the two may be the one that costs it.
        let demand = HoldDemand(full: facts.grant.amount, least: facts.grant.amount, tokens: facts.demand.tokens)
        guard let grant = try? await gate.takeBeside(interception, demand, CallClass(facts.call), second.target) else { return nil }
        flush.post()
        return HedgeHold(interception: interception, grant: grant, target: second.target)
    }

    /// A failure that is not the call's end.
    private func drop(_ runner: HedgeRace.Runner, _ sent: Sent, _ runs: HedgeRuns, _ log: inout AttemptLog) {
        let attempt = runs.attempt(runner)
        switch sent.response {
        case .success(let response):
            response.body.cancel()
            note(response, attempt)
            log.end(status: response.status, error: "HTTP \(response.status)", at: runner.place)
        case .failure(let error as AppError):
            if AttemptVerdict(error) != .sameAgain { health.failed(attempt.target, at: .now) }
            log.end(status: nil, error: error.message, at: runner.place)
        // The client left: neither has failed.
        case .failure: break
        }
    }

    private func finish(_ record: CallRecord, _ race: HedgeRace, _ runs: HedgeRuns, _ log: inout AttemptLog) -> RaceEnd {
        let winner = race.winner ?? .first
        let attempt = runs.attempt(winner)
        let sent = runs.sent[winner] ?? Sent(response: .failure(CancellationError()), asksForUsage: false)
        // An error comes sooner than an answer: it says nothing of how long answers take.
        if case .success(let response) = sent.response, response.status < 300 {
            hedges.took(attempt.target, isStream: runs.isStream, runs.elapsed(winner))
        }
        guard runs.wasSentTwice, let hold = runs.hold else { return RaceEnd(attempt: attempt, sent: sent) }
        let loser = winner.other
        let lost = runs.attempt(loser)
        let outcome = outcome(of: loser, runs, log)
        if case .ended(let why, let status) = outcome {
            // It had not answered by then: without that, slow answers would be missing from what is recent.
            if loser == .first, status == nil { hedges.took(lost.target, isStream: runs.isStream, runs.elapsed(.first)) }
            log.end(status: status, error: why, at: loser.place)
        }
        if record.takeBeside(goingOnWith: winner == .second ? (attempt.target, log.lines.count) : nil) != nil {
            settle.settle(hold.settlement(outcome, lost.target, record.facts))
        }
        log.current = winner.place
        meters.hedged(runs.first.target, winner == .second ? .won : .lost)
        return RaceEnd(attempt: attempt, sent: sent, beside: hold.grant)
    }

    private func outcome(of loser: HedgeRace.Runner, _ runs: HedgeRuns, _ log: AttemptLog) -> HedgeHold.Outcome {
        let line = log.lines[loser.place]
        // It failed by itself, before the race was over.
        if let error = line.error { return .failed(error, status: line.httpStatus) }
        var status: Int?
        if case .success(let response)? = runs.sent[loser]?.response { status = response.status }
        return .ended(why: Task.isCancelled ? "the client left" : "the other attempt answered first", status: status)
    }
}

/// The two attempts of a race.
private struct HedgeRuns {
    let first: Attempt
    let isStream: Bool
    var second: Attempt?
    var hold: HedgeHold?
    private(set) var sent: [HedgeRace.Runner: Gateway.Sent] = [:]
    private var began: [HedgeRace.Runner: ContinuousClock.Instant]
    private var took: [HedgeRace.Runner: Duration] = [:]

    init(_ first: Attempt, isStream: Bool) {
        self.first = first
        self.isStream = isStream
        began = [.first: .now]
    }

    var wasSentTwice: Bool { began[.second] != nil }

    func attempt(_ runner: HedgeRace.Runner) -> Attempt { runner == .first ? first : second ?? first }

    mutating func sent(_ runner: HedgeRace.Runner) { began[runner] = .now }

    mutating func came(_ runner: HedgeRace.Runner, _ result: Gateway.Sent) {
        took[runner] = elapsed(runner)
        sent[runner] = result
    }

    /// Until its answer came, or until now.
    func elapsed(_ runner: HedgeRace.Runner) -> Duration { took[runner] ?? began[runner]?.duration(to: .now) ?? .zero }
}

extension HedgeRace.Runner {
    fileprivate var other: Self { self == .first ? .second : .first }
    /// In the log of attempts.
    fileprivate var place: Int { self == .first ? 0 : 1 }
}

extension HedgeRace.Runner {
    /// Whether the race is over with it. What the second target refuses, the first may still answer; a redirect is handed to nobody.
    fileprivate func isAnswered(by response: HTTPClientResponse) -> Bool {
        guard AttemptVerdict(response) == .answer, !(300..<400).contains(response.status) else { return false }
        return self == .first || response.status < 300
    }
}
