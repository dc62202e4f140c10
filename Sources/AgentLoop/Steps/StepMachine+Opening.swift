import Core

extension StepMachine {
    mutating func began() -> [StepAction] {
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

    mutating func opened() -> [StepAction] {
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

    mutating func openFailed(_ failure: OpenFailure) -> [StepAction] {
        guard phase == .opening else { return [] }
        if stop != nil { return concludeStop(dismissing: stop == .drain ? [] : openCalls) }
        switch failure {
        case .cancelled: return release()
        case .unavailable(let message, let asked): return waitForWorkspace(message, asked: asked)
        case .refused(let reason, let message): return end(.failed(reason, message: message))
        }
    }

    mutating func waitForWorkspace(_ message: String, asked: Duration?) -> [StepAction] {
        hasWorkspace = false
        position.failures += 1
        guard let delay = RetryRule.delay(failures: position.failures, asked: asked) else {
            return end(.paused(.workspaceUnavailable, message: message))
        }
        phase = .over
        return [.wait(delay, .workspace, message: message)]
    }
}
