import Core
import ModelAPI

extension StepMachine {
    /// Between steps: every call has its result.
    mutating func next() -> [StepAction] {
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

    mutating func stepBegun(_ step: StepRef) -> [StepAction] {
        guard phase == .beginning else { return [] }
        position.place = .unanswered(step)
        if stop != nil { return concludeStop() }
        phase = .asking(step)
        return [.ask(step)]
    }

    mutating func booked(_ cost: NanoDollars) -> [StepAction] {
        if case .recalling = phase { position.cost = cost }
        return []
    }

    mutating func recalled(_ answer: ModelAnswer?) -> [StepAction] {
        guard case .recalling(let step) = phase else { return [] }
        guard let answer else {
            position.nextStep = step.number
            position.nextAttempt = step.attempt + 1
            return next()
        }
        phase = .asking(step)
        return answered(answer)
    }

    mutating func pruned(_ gained: Int) -> [StepAction] {
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
