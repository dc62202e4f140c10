import Core
import Foundation
import ModelAPI

/// The state of a runner: the machine, what the model sees, and what runs beside the loop.
struct StepPerformer {
    let runner: TaskRunner
    var machine: StepMachine
    var snapshot: TaskSnapshot
    var workspace: OpenWorkspace?
    var repository: RepositoryWork.Opened?
    /// What runs beside the loop; there is never more than one such thing, and the deadline.
    private var current: Task<Void, Never>?
    private var deadline: Task<Void, Never>?
    private var callStop = CallStopBox()
    private var read: (process: Int, cursor: Int)?
    /// A step that was committed together with the result before it.
    private var begun: StepRef?

    init(_ runner: TaskRunner, _ snapshot: TaskSnapshot) {
        self.runner = runner
        self.snapshot = snapshot
        machine = StepMachine(snapshot.position)
    }

    private var environment: LoopEnvironment { runner.environment }
    private var store: StepStore { environment.store }
    private var lease: Lease { runner.lease }
    private var task: TaskID { runner.lease.task }

    var isOver: Bool { machine.phase == .over }

    func cancelAll() {
        callStop.set(.abandon)
        current?.cancel()
        deadline?.cancel()
    }

    mutating func startDeadline(_ seconds: Double) {
        let runner = runner
        // Ends with the runner, which cancels it.
        deadline = Task {
            try? await Task.sleep(for: .seconds(max(0, seconds)))
            if !Task.isCancelled { runner.stop(.deadline) }
        }
    }

    mutating func handle(_ event: TaskRunner.Event) async throws {
        switch event {
        case .broke(let error): throw error
        case .opened(let workspace, let repository):
            self.workspace = workspace
            self.repository = repository
            try await advance(.opened)
        case .called(let number, let outcome, let read):
            self.read = read
            try await advance(.callEnded(number, outcome))
        case .saved(let work):
            if let work { snapshot.headCommit = work.headCommit }
            try await advance(.workSaved)
        case .step(let event): try await advance(event)
        }
    }

    /// Performs the machine's answer; a commit that yields an event is answered in turn.
    private mutating func advance(_ event: StepEvent) async throws {
        var pending = [event]
        while !pending.isEmpty {
            let actions = machine.handle(pending.removeFirst())
            for (index, action) in actions.enumerated() {
                if let event = try await perform(action, followedBy: actions[(index + 1)...].first) { pending.append(event) }
            }
        }
    }

    private mutating func perform(_ action: StepAction, followedBy next: StepAction?) async throws -> StepEvent? {
        switch action {
        case .open: open()
        case .cancelOpen: current?.cancel()
        case .beginStep(let number, let attempt): return .stepBegun(try await beginStep(number, attempt))
        case .recall(let step): recall(step)
        case .ask(let step): ask(step)
        case .cancelAsk: current?.cancel()
        case .commitAnswer(let step, let answer, let record): try await commitAnswer(step, answer, record, next)
        case .commitFailure(let step, let failure):
            try await recording { try await store.commitFailure(lease, step, failure, failures: machine.position.failures) }
            changed(.events)
        case .run(_, let number): run(number)
        case .stopCall(_, let stop): callStop.set(stop)
        case .commitResult(let number, let result, let remark): try await commitResult(number, result, remark, next)
        case .dismiss(let numbers, let text): try await dismiss(numbers, text)
        case .prune: return try await prune()
        case .saveWork(let ending): saveWork(ending)
        case .finish(let ending): return try await finish(ending)
        case .wait(let delay, let reason, let message):
            try await store.wait(
                lease, delay, reason, message: message, failures: machine.position.failures, now: environment.clock.now())
            changed(.events)
        case .release:
            try await store.release(lease)
            changed(.work)
        }
        return nil
    }

    private func changed(_ topic: TaskBus.Topic) {
        environment.bus.changed(task, .events)
        if topic == .work { environment.bus.changed(task, .work) }
    }
}

// MARK: Opening and saving

extension StepPerformer {
    private mutating func open() {
        let (runner, snapshot, lease) = (runner, snapshot, lease)
        current = Task {
            do {
                let environment = runner.environment
                let workspace = try await environment.workspaces.open(
                    task: lease.task, name: snapshot.name, principal: snapshot.principal, known: snapshot.workspace)
                if workspace.id != snapshot.workspace { try await environment.store.commitWorkspaceID(lease, workspace.id) }
                try await workspace.tools.adopt(fence: lease.fence)
                let work = RepositoryWork(
                    files: environment.files, workspace: workspace, fence: lease.fence, snapshot: snapshot, task: lease.task)
                var opened = try await work.open()
                if let known = snapshot.baseCommit {
                    // What the database says counts: the workspace can be written to by the workload.
                    opened.baseCommit = known
                    opened.baseBranch = snapshot.baseBranch ?? opened.baseBranch
                } else {
                    try await environment.store.commitWorkspace(
                        lease, workspace.id, baseCommit: opened.baseCommit, baseBranch: opened.baseBranch,
                        branch: TaskName.branch(snapshot.name))
                    environment.bus.changed(lease.task, .events)
                }
                runner.report(.opened(workspace, opened))
            } catch { runner.report(Self.openFailed(error, lease)) }
        }
    }

    private static func openFailed(_ error: any Error, _ lease: Lease) -> TaskRunner.Event {
        switch error {
        case is LeaseLost: return .broke(error)
        case is CancellationError: return .step(.openFailed(.cancelled))
        case let failure as OpenFailure: return .step(.openFailed(failure))
        case let error as AppError where error.code == .conflict: return .broke(LeaseLost(task: lease.task))
        case let error as AppError:
            var asked: Duration?
            if case .after(let delay) = error.retry { asked = delay }
            switch error.code {
            case .unavailable, .timeout, .upstream, .internal, .rateLimited:
                return .step(.openFailed(.unavailable(error.message, retryAfter: asked)))
            case .badRequest, .unauthenticated, .forbidden, .notFound, .conflict, .tooLarge, .budgetExceeded, .policyDenied:
                return .step(.openFailed(.refused(.workspace, message: error.message)))
            }
        default: return .broke(error)
        }
    }

    private mutating func saveWork(_ ending: Ending) {
        guard let workspace, let repository else {
            runner.report(.step(.workFailed("There is no workspace.", isTransient: false)))
            return
        }
        let (runner, snapshot, lease) = (runner, snapshot, lease)
        current = Task {
            let environment = runner.environment
            let work = RepositoryWork(
                files: environment.files, workspace: workspace, fence: lease.fence, snapshot: snapshot, task: lease.task)
            do {
                let saved = try await work.save(ending, baseCommit: repository.baseCommit)
                if let saved {
                    try await environment.store.commitWork(lease, saved, branch: TaskName.branch(snapshot.name))
                    environment.bus.changed(lease.task, .events)
                }
                runner.report(.saved(saved))
            } catch let error as AppError {
                let isTransient = [.unavailable, .timeout, .upstream].contains(error.code)
                runner.report(.step(.workFailed(error.message, isTransient: isTransient)))
            } catch { runner.report(.broke(error)) }
        }
    }

    private mutating func finish(_ ending: Ending) async throws -> StepEvent {
        let booked = try await environment.ledger?.costs(of: [task])[task]
        let isOver = try await recording {
            try await store.finish(lease, ending, interruptedBy: runner.interrupter, cost: booked ?? machine.position.cost)
        }
        guard isOver else { return .messagesWait }
        changed(.events)
        return .finished
    }
}

// MARK: Asking

extension StepPerformer {
    private mutating func beginStep(_ number: Int, _ attempt: Int) async throws -> StepRef {
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

    private func beginning(_ number: Int, _ attempt: Int, after position: Int) async throws -> StepStore.StepBeginning {
        let step = StepRef(number: number, attempt: attempt, interception: InterceptionID())
        return try await recording {
            try await store.beginning(
                of: step, lease, model: snapshot.model, promptsHash: environment.prompts.hash, lastPosition: position)
        }
    }

    private mutating func hasBegun(_ beginning: StepStore.StepBeginning) {
        for entry in beginning.entries { snapshot.transcript.append(entry) }
        environment.meters.begun()
    }

    private func recording<Value>(_ body: () async throws -> Value) async rethrows -> Value {
        try await environment.meters.measure(.records, body)
    }

    private mutating func recall(_ step: StepRef) {
        let (runner, task) = (runner, task)
        current = Task {
            do {
                let environment = runner.environment
                let answer = try await environment.model.recorded(step.interception)
                if let ledger = environment.ledger {
                    let cost = try await ledger.costs(of: [task])[task] ?? .zero
                    runner.report(.step(.booked(cost - (answer?.cost ?? .zero))))
                }
                runner.report(.step(.recalled(answer)))
            } catch { runner.report(.broke(error)) }
        }
    }

    private mutating func ask(_ step: StepRef) {
        let (runner, task) = (runner, task)
        let call: ModelCall
        do { call = try modelCall(step) } catch {
            runner.report(.broke(error))
            return
        }
        let previews = environment.previews
        previews.show(.began(step: step.number, attempt: step.attempt), of: task)
        current = Task {
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
            model: snapshot.model, system: environment.prompts.system(for: situation), tools: try environment.prompts.schemas,
            messages: snapshot.transcript.messages, maxOutputTokens: environment.settings.maxOutputTokens,
            sessionID: task.description)
        let remaining = machine.position.limits.cost.map { $0 - machine.position.cost }
        return ModelCall(
            id: step.interception, principal: snapshot.principal, task: task, step: step.number, model: snapshot.model,
            conversation: conversation, remaining: remaining)
    }

    private mutating func commitAnswer(_ step: StepRef, _ answer: ModelAnswer, _ record: AnswerRecord, _ next: StepAction?)
        async throws
    {
        var entries: [Transcript.Entry] = []
        let last = snapshot.transcript.lastPosition
        if record.isKept {
            entries.append(
                .init(position: last + 1, kind: .answer, step: step.number, content: answer.blocks.map(ContentBlock.answer)))
        }
        if let remark = record.remark {
            entries.append(.init(position: last + entries.count + 1, kind: .remark, content: [.text(remark)]))
        }
        let rows = record.calls.map {
            StepStore.CallRow(id: CallID(), call: $0, hasEffect: ToolName(tolerant: $0.call.tool)?.hasEffect ?? false)
        }
        try await recording {
            try await store.commitAnswer(
                lease,
                .init(
                    step: step, answer: answer, entries: entries, calls: rows, remark: record.remark,
                    nudges: machine.position.nudges, totalCost: machine.position.cost, starting: starting(next, among: rows)))
        }
        for entry in entries { snapshot.transcript.append(entry) }
        for row in rows {
            let call = row.call
            snapshot.calls[call.number] = TaskSnapshot.Call(
                id: row.id, number: call.number, step: step.number, tool: call.call.tool, arguments: call.call.arguments,
                isStarted: false,
                isEnded: call.dismissal != nil, hasEffect: row.hasEffect, cursor: 0, modelID: call.call.modelID)
            if let text = call.dismissal { result(of: call.number, text, isError: true) }
        }
        noteStarted(starting(next))
        changed(.events)
    }

    /// A call with an effect is on record as started before it is made; the commit before it says so along the way.
    private func starting(_ next: StepAction?, among rows: [StepStore.CallRow]? = nil) -> (number: Int, sandbox: String)? {
        guard case .run(_, let number)? = next, let workspace else { return nil }
        let hasEffect = rows?.first { $0.call.number == number }?.hasEffect ?? snapshot.calls[number]?.hasEffect ?? false
        return hasEffect ? (number, workspace.sandbox) : nil
    }

    private mutating func prune() async throws -> StepEvent {
        let gained = snapshot.transcript.prune()
        if gained > 0 {
            try await store.commitPruning(lease, below: snapshot.transcript.prunedBelow, gained: gained)
            changed(.events)
        }
        return .pruned(gained)
    }
}

// MARK: Calls

extension StepPerformer {
    private mutating func run(_ number: Int) {
        guard let call = snapshot.calls[number], let workspace, let repository else {
            runner.report(.broke(AppError(.internal, "Call \(number) of the task is not known.")))
            return
        }
        let stop = CallStopBox()
        callStop = stop
        let (runner, lease) = (runner, lease)
        let environment = environment
        let previews = environment.previews
        let tools = ToolRunner(
            task: lease.task, workspace: workspace, directory: repository.directory, fence: lease.fence, taskName: snapshot.name,
            prepare: { try await environment.store.prepare(lease, $0, $1) }, commands: snapshot.calls,
            preview: { previews.show(.output(call: $0, text: $1), of: lease.task) })
        current = Task {
            do {
                // Taken over before it was on record as started: it must be, before it is made.
                if call.hasEffect, !call.isStarted {
                    try await environment.store.ensureStarted(lease, number, sandbox: workspace.sandbox)
                }
                let (outcome, read) = try await environment.meters.measure(.tools) { try await tools.run(call, stop: stop) }
                runner.report(.called(number: number, outcome, read: read))
            } catch { runner.report(.broke(error)) }
        }
    }

    private mutating func commitResult(_ number: Int, _ result: CallResult, _ remark: String?, _ next: StepAction?) async throws {
        let entry = remark.map {
            Transcript.Entry(position: snapshot.transcript.lastPosition + 1, kind: .remark, content: [.text($0)])
        }
        var following: StepStore.StepBeginning?
        if case .beginStep(let number, let attempt)? = next {
            following = try await beginning(number, attempt, after: entry?.position ?? snapshot.transcript.lastPosition)
        }
        let commit = StepStore.ResultCommit(
            number: number, result: result, read: read, remark: entry, starting: starting(next), following: following)
        try await recording { try await store.commitResult(lease, commit) }
        if let read { snapshot.calls[read.process]?.cursor = read.cursor }
        read = nil
        snapshot.calls[number]?.isEnded = true
        self.result(of: number, result.text, isError: result.isError)
        if let entry { snapshot.transcript.append(entry) }
        if let following {
            hasBegun(following)
            begun = following.step
        }
        noteStarted(starting(next))
        changed(.events)
    }

    private mutating func noteStarted(_ starting: (number: Int, sandbox: String)?) {
        guard let starting else { return }
        snapshot.calls[starting.number]?.isStarted = true
        snapshot.calls[starting.number]?.sandbox = starting.sandbox
    }

    private mutating func dismiss(_ numbers: [Int], _ text: String) async throws {
        try await store.dismiss(lease, numbers.map { ($0, snapshot.calls[$0]?.tool ?? "") }, text)
        for number in numbers { result(of: number, text, isError: true) }
        changed(.events)
    }

    private mutating func result(of number: Int, _ text: String, isError: Bool) {
        guard let call = snapshot.calls[number] else { return }
        snapshot.transcript.append(
            Transcript.ResultOfCall(number: number, modelID: call.modelID, text: text, isError: isError), step: call.step)
    }
}
