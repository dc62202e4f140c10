import Core

extension StepMachine {
    mutating func callEnded(_ number: Int, _ outcome: CallOutcome) -> [StepAction] {
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
        case .needsApproval(let message):
            // The call stays open: whoever goes on asks again.
            position.place = .acting(step, open: [current] + rest, started: true)
            if stop == .drain { return release() }
            if stop != nil { return concludeStop(dismissing: [current] + rest) }
            return end(.paused(.approval, message: message))
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
