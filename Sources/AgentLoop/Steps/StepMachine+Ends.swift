import Core

extension StepMachine {
    mutating func stopped(_ new: Stop) -> [StepAction] {
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
    mutating func concludeStop(dismissing calls: [Int] = []) -> [StepAction] {
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

    mutating func end(_ ending: Ending) -> [StepAction] {
        guard hasWorkspace else {
            phase = .finishing(ending)
            return [.finish(ending)]
        }
        phase = .saving(ending)
        return [.saveWork(ending)]
    }

    mutating func workSaved() -> [StepAction] {
        guard case .saving(let ending) = phase else { return [] }
        phase = .finishing(ending)
        return [.finish(ending)]
    }

    mutating func workFailed(_ message: String, isTransient: Bool) -> [StepAction] {
        guard case .saving(let ending) = phase else { return [] }
        if isTransient, stop == nil, case .completed = ending { return waitForWorkspace(message, asked: nil) }
        var final = ending
        // Any other ending has its own reason, which must not be lost.
        if case .completed = ending { final = .failed(.result, message: message) }
        phase = .finishing(final)
        return [.finish(final)]
    }

    mutating func finished() -> [StepAction] {
        guard case .finishing = phase else { return [] }
        phase = .over
        return []
    }

    /// A message came in before the end was committed: the turn goes on.
    mutating func messagesWait() -> [StepAction] {
        guard case .finishing = phase else { return [] }
        return next()
    }

    mutating func release() -> [StepAction] {
        phase = .over
        return [.release]
    }
}
