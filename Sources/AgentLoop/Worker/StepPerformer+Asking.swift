import Core
import ModelAPI

extension StepPerformer {
    mutating func beginStep(_ number: Int, _ attempt: Int) async throws -> StepRef {
        if let begun {
            self.begun = nil
            return begun
        }
        let beginning = try await beginning(number, attempt, after: snapshot.transcript.lastPosition)
        try await recording { try await store.begin(lease, beginning) }
        hasBegun(beginning)
        changed(.events)
        return beginning.step
    }

    func beginning(_ number: Int, _ attempt: Int, after position: Int) async throws -> StepStore.StepBeginning {
        let step = StepRef(number: number, attempt: attempt, interception: InterceptionID())
        return try await recording {
            try await store.beginning(
                of: step, lease, model: snapshot.model, promptsHash: environment.prompts.hash, lastPosition: position)
        }
    }

    mutating func hasBegun(_ beginning: StepStore.StepBeginning) {
        for entry in beginning.entries { snapshot.transcript.append(entry) }
        snapshot.principal.roles = beginning.roles
        if !beginning.isOwnerActive {
            runner.note(interruptedBy: Self.suspension)
            // Between two steps there is nothing to stop: the step that is about to begin ends instead.
            _ = machine.handle(.stop(.interrupt))
        }
        environment.meters.begun()
        trace?.begin(beginning.step)
    }

    private static let suspension = "the server, because its owner's account is suspended"

    mutating func recall(_ step: StepRef) {
        let (runner, task) = (runner, task)
        runBeside {
            let environment = runner.environment
            let answer = try await environment.model.recorded(step.interception)
            if let ledger = environment.ledger {
                let cost = try await ledger.costs(of: [task])[task] ?? .zero
                runner.report(.step(.booked(cost - (answer?.cost ?? .zero))))
            }
            runner.report(.step(.recalled(answer)))
        }
    }

    mutating func ask(_ step: StepRef) {
        let (runner, task) = (runner, task)
        let call: ModelCall
        do { call = try modelCall(step) } catch {
            runner.report(.broke(error))
            return
        }
        let previews = environment.previews
        previews.show(.began(step: step.number, attempt: step.attempt), of: task)
        runBeside {
            do {
                let environment = runner.environment
                let answer = try await environment.meters.measure(.model) {
                    try await environment.model.call(call) { previews.show(.delta(step: step.number, $0), of: task) }
                }
                runner.report(.step(.answered(answer)))
            } catch { runner.report(.step(.askFailed(ModelFailure.classify(error)))) }
        }
    }

    private func modelCall(_ step: StepRef) throws -> ModelCall {
        let base = repository.map { "\($0.baseBranch) (\($0.baseCommit.prefix(12)))" } ?? ""
        let situation = PromptSet.Situation(
            directory: repository?.directory ?? "", branch: TaskName.branch(snapshot.name), base: base)
        let conversation = Conversation(
            model: snapshot.model, system: environment.prompts.system(for: situation), tools: environment.prompts.schemas,
            messages: snapshot.transcript.messages, maxOutputTokens: environment.settings.maxOutputTokens,
            sessionID: task.description)
        let remaining = machine.position.limits.cost.map { $0 - machine.position.cost }
        return ModelCall(
            id: step.interception, principal: snapshot.principal, task: task, step: step.number, model: snapshot.model,
            conversation: conversation, remaining: remaining, trace: trace?.context)
    }

    mutating func prune() async throws -> StepEvent {
        let gained = snapshot.transcript.prune()
        if gained > 0 {
            try await store.commitPruning(lease, below: snapshot.transcript.prunedBelow, gained: gained)
            changed(.events)
        }
        return .pruned(gained)
    }
}
