import Core
import ModelAPI

/// What an answer, or its failure, leads to.
extension StepMachine {
    private static let nudgeLimit = 2

    mutating func answered(_ answer: ModelAnswer) -> [StepAction] {
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

    mutating func askFailed(_ failure: ModelFailure) -> [StepAction] {
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
}
