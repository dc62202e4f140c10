import Core
import ModelAPI

/// One attempt at a step: its model call is known by the interception.
package struct StepRef: Sendable, Equatable {
    package var number: Int
    package var attempt: Int
    package var interception: InterceptionID

    package init(number: Int, attempt: Int, interception: InterceptionID) {
        self.number = number
        self.attempt = attempt
        self.interception = interception
    }
}

/// How a task advances: events in, actions out, no I/O and no clock.
///
/// The worker performs the actions in their order and awaits each commit; what takes longer (opening, asking, calling, saving) reports
/// back as an event. A machine that is made from a task's rows goes on where the last owner was.
package struct StepMachine: Sendable {
    package enum Phase: Sendable, Equatable {
        case new
        /// The workspace is being opened and the repository brought in.
        case opening
        /// The next step is being committed.
        case beginning
        /// The gateway is asked for the answer that an earlier owner may have got.
        case recalling(StepRef)
        case asking(StepRef)
        /// One call runs at a time, in the model's order.
        case acting(StepRef, current: Int, rest: [Int])
        case pruning
        /// The turn's work is being committed in the repository and saved.
        case saving(Ending)
        case finishing(Ending)
        case over
    }

    /// What asks the task to stop, by rank: a higher one takes the place of a lower one.
    package enum Stop: Int, Sendable, Comparable {
        /// The server stops: hand over.
        case drain
        /// The time limit is reached.
        case deadline
        case interrupt

        package static func < (a: Stop, b: Stop) -> Bool { a.rawValue < b.rawValue }
    }

    /// Where the rows say the task is.
    package struct Position: Sendable {
        package enum Place: Sendable, Equatable {
            /// Every call has its result.
            case between
            case unanswered(StepRef)
            /// Calls without a result, in order. `started`: the first may have been started.
            case acting(StepRef, open: [Int], started: Bool)
            /// The model has said its last words; the work is not saved yet.
            case settling(text: String)
        }

        package var place: Place
        package var nextStep: Int
        package var nextAttempt: Int
        package var lastCall: Int
        package var cost: NanoDollars
        package var limits: TaskLimits
        package var failures: Int
        package var nudges: Int
        package var repetition: RepetitionGuard
        package var isInterrupted: Bool

        package init(
            place: Place = .between, nextStep: Int = 1, nextAttempt: Int = 1, lastCall: Int = 0, cost: NanoDollars = .zero,
            limits: TaskLimits = .init(), failures: Int = 0, nudges: Int = 0, repetition: RepetitionGuard = .init(),
            isInterrupted: Bool = false
        ) {
            self.place = place
            self.nextStep = nextStep
            self.nextAttempt = nextAttempt
            self.lastCall = lastCall
            self.cost = cost
            self.limits = limits
            self.failures = failures
            self.nudges = nudges
            self.repetition = repetition
            self.isInterrupted = isInterrupted
        }
    }

    package private(set) var phase = Phase.new
    package private(set) var position: Position
    private var stop: Stop?
    private var hasWorkspace = false

    private static let nudgeLimit = 2

    package init(_ position: Position) {
        self.position = position
        if position.isInterrupted { stop = .interrupt }
    }

    package mutating func handle(_ event: StepEvent) -> [StepAction] {
        switch event {
        case .began: began()
        case .opened: opened()
        case .openFailed(let failure): openFailed(failure)
        case .stepBegun(let step): stepBegun(step)
        case .booked(let cost): booked(cost)
        case .recalled(let answer): recalled(answer)
        case .answered(let answer): answered(answer)
        case .askFailed(let failure): askFailed(failure)
        case .callEnded(let number, let outcome): callEnded(number, outcome)
        case .pruned(let gained): pruned(gained)
        case .workSaved: workSaved()
        case .workFailed(let message, let isTransient): workFailed(message, isTransient: isTransient)
        case .finished: finished()
        case .messagesWait: messagesWait()
        case .stop(let stop): stopped(stop)
        }
    }
}

// MARK: Opening

extension StepMachine {
    private mutating func began() -> [StepAction] {
        guard phase == .new else { return [] }
        // An interrupt needs the workspace only when something may run there.
        if stop == .interrupt {
            if case .acting(_, _, started: true) = position.place {} else { return concludeStop(dismissing: openCalls) }
        }
        phase = .opening
        return [.open]
    }

    private var openCalls: [Int] {
        if case .acting(_, let open, _) = position.place { open } else { [] }
    }

    private mutating func opened() -> [StepAction] {
        guard phase == .opening else { return [] }
        hasWorkspace = true
        switch position.place {
        case .between: return next()
        case .settling(let text): return stop == nil ? end(.completed(text: text)) : concludeStop()
        case .unanswered(let step):
            if stop != nil { return concludeStop() }
            phase = .recalling(step)
            return [.recall(step)]
        case .acting(let step, let open, let started):
            guard let current = open.first else { return next() }
            if stop == .drain { return concludeStop() }
            phase = .acting(step, current: current, rest: Array(open.dropFirst()))
            switch stop {
            case .interrupt where !started, .deadline where !started: return concludeStop(dismissing: open)
            case .interrupt: return [.run(step, current), .stopCall(current, .kill)]
            case .deadline: return [.run(step, current), .stopCall(current, .detach)]
            case .drain, nil: return [.run(step, current)]
            }
        }
    }

    private mutating func openFailed(_ failure: OpenFailure) -> [StepAction] {
        guard phase == .opening else { return [] }
        if stop != nil { return concludeStop(dismissing: stop == .drain ? [] : openCalls) }
        switch failure {
        case .cancelled: return release()
        case .unavailable(let message, let asked): return waitForWorkspace(message, asked: asked)
        case .refused(let reason, let message): return end(.failed(reason, message: message))
        }
    }

    private mutating func waitForWorkspace(_ message: String, asked: Duration?) -> [StepAction] {
        hasWorkspace = false
        position.failures += 1
        guard let delay = RetryRule.delay(failures: position.failures, asked: asked) else {
            return end(.paused(.workspaceUnavailable, message: message))
        }
        phase = .over
        return [.wait(delay, .workspace, message: message)]
    }
}

// MARK: Steps

extension StepMachine {
    /// Between steps: every call has its result.
    private mutating func next() -> [StepAction] {
        position.place = .between
        if stop != nil { return concludeStop() }
        if let limit = position.limits.cost, position.cost >= limit {
            return end(.paused(.limitCost, message: "The task has cost \(position.cost) of at most \(limit)."))
        }
        if let limit = position.limits.steps, position.nextStep > limit {
            return end(.paused(.limitSteps, message: "The task has made \(position.nextStep - 1) of at most \(limit) steps."))
        }
        phase = .beginning
        return [.beginStep(number: position.nextStep, attempt: position.nextAttempt)]
    }

    private mutating func stepBegun(_ step: StepRef) -> [StepAction] {
        guard phase == .beginning else { return [] }
        position.place = .unanswered(step)
        if stop != nil { return concludeStop() }
        phase = .asking(step)
        return [.ask(step)]
    }

    private mutating func booked(_ cost: NanoDollars) -> [StepAction] {
        if case .recalling = phase { position.cost = cost }
        return []
    }

    private mutating func recalled(_ answer: ModelAnswer?) -> [StepAction] {
        guard case .recalling(let step) = phase else { return [] }
        guard let answer else {
            position.nextStep = step.number
            position.nextAttempt = step.attempt + 1
            return next()
        }
        phase = .asking(step)
        return answered(answer)
    }

    private mutating func answered(_ answer: ModelAnswer) -> [StepAction] {
        guard case .asking(let step) = phase else { return [] }
        position.cost = position.cost + answer.cost
        position.nextStep = step.number + 1
        position.nextAttempt = 1
        position.failures = 0
        switch AnswerVerdict(answer) {
        case .calls(let calls):
            position.nudges = 0
            return act(step, answer, calls)
        case .final(let text):
            position.nudges = 0
            return commit(step, answer) + end(.completed(text: text))
        case .empty:
            return nudge(step, answer, isKept: false, calls: [], Remark.empty, or: .emptyAnswers, "The model gave empty answers.")
        case .cut(let calls):
            let numbered = number(calls) { _ in Remark.cutCall }
            return nudge(
                step, answer, isKept: true, calls: numbered, Remark.cut, or: .cutAnswers,
                "The model's answers were cut off at the output limit.")
        case .refused(let text):
            let reason = text.allSatisfy(\.isWhitespace) ? "It gave no reason." : text
            return commit(step, answer, isKept: false)
                + end(.paused(.refusal, message: "The model refused to go on: \(reason.prefix(500))"))
        case .contextExceeded:
            phase = .pruning
            return [.commitAnswer(step, answer, AnswerRecord(isKept: false)), .prune]
        case .unfinished:
            return commit(step, answer) + next()
        }
    }

    private mutating func act(_ step: StepRef, _ answer: ModelAnswer, _ calls: [PlannedCall]) -> [StepAction] {
        let stop = stop
        let numbered = number(calls) { call in
            if stop == .interrupt { return Remark.interruptedCall }
            if stop == .deadline { return Remark.limitCall }
            return call.isComplete ? nil : Remark.brokenCall
        }
        let open = numbered.filter { $0.dismissal == nil }.map(\.number)
        let commit = StepAction.commitAnswer(step, answer, AnswerRecord(isKept: true, calls: numbered))
        position.place = .acting(step, open: open, started: false)
        if stop != nil { return [commit] + concludeStop() }
        guard let current = open.first else { return [commit] + next() }
        phase = .acting(step, current: current, rest: Array(open.dropFirst()))
        return [commit, .run(step, current)]
    }

    private mutating func nudge(
        _ step: StepRef, _ answer: ModelAnswer, isKept: Bool, calls: [NumberedCall], _ remark: String, or reason: PauseReason,
        _ message: String
    ) -> [StepAction] {
        position.nudges += 1
        let record = AnswerRecord(isKept: isKept, calls: calls, remark: remark)
        let commit = [StepAction.commitAnswer(step, answer, record)]
        if position.nudges > Self.nudgeLimit { return commit + end(.paused(reason, message: message)) }
        return commit + next()
    }

    private func commit(_ step: StepRef, _ answer: ModelAnswer, isKept: Bool = true) -> [StepAction] {
        [.commitAnswer(step, answer, AnswerRecord(isKept: isKept))]
    }

    private mutating func number(_ calls: [PlannedCall], dismissal: (PlannedCall) -> String?) -> [NumberedCall] {
        calls.map { call in
            position.lastCall += 1
            return NumberedCall(number: position.lastCall, call: call, dismissal: dismissal(call))
        }
    }

    private mutating func askFailed(_ failure: ModelFailure) -> [StepAction] {
        guard case .asking(let step) = phase else { return [] }
        position.cost = position.cost + failure.cost
        position.nextStep = step.number
        position.nextAttempt = step.attempt + 1
        position.place = .between
        let commit = StepAction.commitFailure(step, failure)
        if stop != nil { return [commit] + concludeStop() }
        switch failure.kind {
        case .rateLimited, .overloaded, .unavailable, .brokenOff, .cancelled:
            position.failures += 1
            guard let delay = RetryRule.delay(failures: position.failures, asked: failure.retryAfter) else {
                let tries = "\(position.failures) attempts"
                return [commit]
                    + end(.paused(.modelUnavailable, message: "The model gave no answer in \(tries): \(failure.message)"))
            }
            phase = .over
            return [commit, .wait(delay, .model, message: failure.message)]
        case .contextOverflow:
            phase = .pruning
            return [commit, .prune]
        case .budget: return [commit] + end(.paused(.budget, message: failure.message))
        case .policy: return [commit] + end(.paused(.policy, message: failure.message))
        case .rejected: return [commit] + end(.failed(.modelRejected, message: failure.message))
        }
    }

    private mutating func pruned(_ gained: Int) -> [StepAction] {
        guard phase == .pruning else { return [] }
        guard gained > 0 else {
            return end(
                .paused(
                    .contextOverflow,
                    message: "The conversation no longer fits into the model's context, and nothing more of it can be left out."))
        }
        return next()
    }
}

// MARK: Calls

extension StepMachine {
    private mutating func callEnded(_ number: Int, _ outcome: CallOutcome) -> [StepAction] {
        guard case .acting(let step, let current, let rest) = phase, number == current else { return [] }
        switch outcome {
        case .abandoned: return release()
        case .workspaceLost(let message):
            position.place = .acting(step, open: [current] + rest, started: true)
            if stop == .drain { return release() }
            if stop != nil {
                hasWorkspace = false
                return concludeStop(dismissing: [current] + rest)
            }
            return waitForWorkspace(message, asked: nil)
        case .result(let result):
            position.failures = 0
            let verdict = position.repetition.record(result.signature, tool: result.tool, isChange: result.isChange)
            position.place = rest.isEmpty ? .between : .acting(step, open: rest, started: false)
            var remark: String?
            if case .warn(let text) = verdict { remark = text }
            let commit = StepAction.commitResult(number, result, remark: remark)
            if stop != nil { return [commit] + concludeStop(dismissing: stop == .drain ? [] : rest) }
            if case .stuck(let message) = verdict {
                let dismissal = rest.isEmpty ? [] : [StepAction.dismiss(rest, Remark.stuckCall)]
                return [commit] + dismissal + end(.paused(.stuck, message: message))
            }
            guard let following = rest.first else { return [commit] + next() }
            phase = .acting(step, current: following, rest: Array(rest.dropFirst()))
            return [commit, .run(step, following)]
        }
    }
}

// MARK: Ends

extension StepMachine {
    private mutating func stopped(_ new: Stop) -> [StepAction] {
        if let stop, stop >= new { return [] }
        stop = new
        switch phase {
        case .new, .beginning, .pruning: return []
        case .opening: return [.cancelOpen]
        // The recorded answer is there in a moment, or not at all.
        case .recalling: return []
        // An answer that is under way may end before the task is handed over.
        case .asking: return new == .drain ? [] : [.cancelAsk]
        case .acting(_, let current, _):
            switch new {
            case .interrupt: return [.stopCall(current, .kill)]
            case .deadline: return [.stopCall(current, .detach)]
            case .drain: return [.stopCall(current, .abandon)]
            }
        // It ends anyway.
        case .saving, .finishing, .over: return []
        }
    }

    /// Ends for the reason in `stop`. Calls that were not made get a result that says so.
    private mutating func concludeStop(dismissing calls: [Int] = []) -> [StepAction] {
        switch stop {
        case .drain: return release()
        case .deadline:
            let limit = position.limits.seconds.map { "\($0) seconds" } ?? "its limit"
            let dismissal = calls.isEmpty ? [] : [StepAction.dismiss(calls, Remark.limitCall)]
            return dismissal + end(.paused(.limitTime, message: "The task has worked for \(limit)."))
        case .interrupt:
            let dismissal = calls.isEmpty ? [] : [StepAction.dismiss(calls, Remark.interruptedCall)]
            return dismissal + end(.interrupted)
        case nil: return next()
        }
    }

    private mutating func end(_ ending: Ending) -> [StepAction] {
        guard hasWorkspace else {
            phase = .finishing(ending)
            return [.finish(ending)]
        }
        phase = .saving(ending)
        return [.saveWork(ending)]
    }

    private mutating func workSaved() -> [StepAction] {
        guard case .saving(let ending) = phase else { return [] }
        phase = .finishing(ending)
        return [.finish(ending)]
    }

    private mutating func workFailed(_ message: String, isTransient: Bool) -> [StepAction] {
        guard case .saving(let ending) = phase else { return [] }
        if isTransient, stop == nil, case .completed = ending { return waitForWorkspace(message, asked: nil) }
        var final = ending
        // Any other ending has its own reason, which must not be lost.
        if case .completed = ending { final = .failed(.result, message: message) }
        phase = .finishing(final)
        return [.finish(final)]
    }

    private mutating func finished() -> [StepAction] {
        guard case .finishing = phase else { return [] }
        phase = .over
        return []
    }

    /// A message came in before the end was committed: the turn goes on.
    private mutating func messagesWait() -> [StepAction] {
        guard case .finishing = phase else { return [] }
        return next()
    }

    private mutating func release() -> [StepAction] {
        phase = .over
        return [.release]
    }
}
