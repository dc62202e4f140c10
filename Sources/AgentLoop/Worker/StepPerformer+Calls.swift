import Core

extension StepPerformer {
    mutating func run(_ number: Int) {
        guard let call = snapshot.calls[number], let workspace, let repository else {
            runner.report(.broke(AppError(.internal, "Call \(number) of the task is not known.")))
            return
        }
        let stop = CallStopBox()
        callStop = stop
        let (runner, lease, trace) = (runner, lease, trace)
        let environment = environment
        let previews = environment.previews
        let tools = ToolRunner(
            task: lease.task, workspace: workspace, directory: repository.directory, fence: lease.fence, taskName: snapshot.name,
            prepare: { try await environment.store.prepare(lease, $0, $1) }, commands: snapshot.calls,
            preview: { previews.show(.output(call: $0, text: $1), of: lease.task) })
        let principal = snapshot.principal
        runBeside {
            if let policy = environment.toolPolicy {
                switch try await policy.verdict(on: call.tool, arguments: call.arguments, task: lease.task, for: principal) {
                case .allowed: break
                case .refused(let reason):
                    return runner.report(.called(number: number, .result(tools.refused(call, reason)), read: nil))
                case .needsApproval(let reason):
                    switch try await environment.store.approval(of: number, lease.task) {
                    case .given: break
                    case .withheld(let by):
                        let result = tools.refused(call, "\(by) did not allow it.")
                        return runner.report(.called(number: number, .result(result), read: nil))
                    case nil: return runner.report(.called(number: number, .needsApproval("\(call.tool): \(reason)"), read: nil))
                    }
                }
            }
            // Taken over before it was on record as started: it must be, before it is made.
            if call.hasEffect, !call.isStarted {
                try await environment.store.ensureStarted(lease, number, sandbox: workspace.sandbox)
            }
            let run = { () async throws -> (CallOutcome, (process: Int, cursor: Int)?) in
                try await environment.meters.measure(.tools) { try await tools.run(call, stop: stop) }
            }
            let (outcome, read) = if let trace { try await trace.calling(call, run) } else { try await run() }
            runner.report(.called(number: number, outcome, read: read))
        }
    }

    mutating func commitResult(_ number: Int, _ result: CallResult, _ remark: String?, _ next: StepAction?) async throws {
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

    /// A call with an effect is on record as started before it is made; the commit before it says so along the way.
    func starting(_ next: StepAction?, among rows: [StepStore.CallRow]? = nil) -> (number: Int, sandbox: String)? {
        guard case .run(_, let number)? = next, let workspace else { return nil }
        let hasEffect = rows?.first { $0.call.number == number }?.hasEffect ?? snapshot.calls[number]?.hasEffect ?? false
        return hasEffect ? (number, workspace.sandbox) : nil
    }

    mutating func noteStarted(_ starting: (number: Int, sandbox: String)?) {
        guard let starting else { return }
        snapshot.calls[starting.number]?.isStarted = true
        snapshot.calls[starting.number]?.sandbox = starting.sandbox
    }

    mutating func dismiss(_ numbers: [Int], _ text: String) async throws {
        try await store.dismiss(lease, numbers.map { ($0, snapshot.calls[$0]?.tool ?? "") }, text)
        for number in numbers { result(of: number, text, isError: true) }
        changed(.events)
    }

    mutating func result(of number: Int, _ text: String, isError: Bool) {
        guard let call = snapshot.calls[number] else { return }
        snapshot.transcript.append(
            Transcript.ResultOfCall(number: number, modelID: call.modelID, text: text, isError: isError), step: call.step)
    }
}
