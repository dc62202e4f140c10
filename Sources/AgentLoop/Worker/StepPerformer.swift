import Core

/// The state of a runner: the machine, what the model sees, and what runs beside the loop.
struct StepPerformer {
    let runner: TaskRunner
    var machine: StepMachine
    var snapshot: TaskSnapshot
    var workspace: OpenWorkspace?
    var repository: RepositoryWork.Opened?
    /// What runs beside the loop, never more than one at a time.
    private var current: Task<Void, Never>?
    private var deadline: Task<Void, Never>?
    var callStop = CallStopBox()
    var read: (process: Int, cursor: Int)?
    /// A step that was committed together with the result before it.
    var begun: StepRef?
    /// Nil where nothing is traced.
    let trace: TaskTrace?

    init(_ runner: TaskRunner, _ snapshot: TaskSnapshot) {
        self.runner = runner
        self.snapshot = snapshot
        machine = StepMachine(snapshot.position)
        trace = runner.environment.tracer.map { TaskTrace($0, task: runner.lease.task, model: snapshot.model) }
    }

    var environment: LoopEnvironment { runner.environment }
    var store: StepStore { environment.store }
    var lease: Lease { runner.lease }
    var task: TaskID { runner.lease.task }

    var isOver: Bool { machine.phase == .over }

    mutating func begin() async throws {
        if let seconds = snapshot.remainingSeconds {
            // `end` awaits it.
            deadline = Task { [runner] in
                try? await Task.sleep(for: .seconds(max(0, seconds)))
                if !Task.isCancelled { runner.stop(.deadline) }
            }
        }
        try await handle(.step(.began))
    }

    /// Runs beside the loop what takes longer: it reports back by itself, or `broke` when it throws. `end` awaits it.
    mutating func runBeside(_ work: @escaping @Sendable () async throws -> Void) {
        current = Task { [runner] in
            do { try await work() } catch { runner.report(.broke(error)) }
        }
    }

    /// Cancels what still runs and waits for it: behind this nothing of the task runs in this process.
    func end() async {
        callStop.set(.abandon)
        current?.cancel()
        deadline?.cancel()
        await current?.value
        await deadline?.value
        trace?.end()
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

    /// Commits of the loop itself are measured.
    func recording<Value>(_ body: () async throws -> Value) async rethrows -> Value {
        try await environment.meters.measure(.records, body)
    }

    func changed(_ topic: TaskBus.Topic) {
        environment.bus.changed(task, .events)
        if topic == .work { environment.bus.changed(task, .work) }
    }
}
