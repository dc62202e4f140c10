import Core

extension StepPerformer {
    mutating func saveWork(_ ending: Ending) {
        guard let workspace, let repository else {
            runner.report(.step(.workFailed("There is no workspace.", isTransient: false)))
            return
        }
        let (runner, snapshot, lease, trace) = (runner, snapshot, lease, trace)
        runBeside {
            let environment = runner.environment
            let work = RepositoryWork(
                files: environment.files, workspace: workspace, fence: lease.fence, snapshot: snapshot, task: lease.task)
            do {
                let saved = try await trace.within("save work") {
                    try await work.save(ending, baseCommit: repository.baseCommit)
                }
                if let saved {
                    try await environment.store.commitWork(lease, saved, branch: TaskName.branch(snapshot.name))
                    environment.bus.changed(lease.task, .events)
                }
                runner.report(.saved(saved))
            } catch let error as AppError {
                let isTransient = [.unavailable, .timeout, .upstream].contains(error.code)
                runner.report(.step(.workFailed(error.message, isTransient: isTransient)))
            }
        }
    }

    mutating func finish(_ ending: Ending) async throws -> StepEvent {
        let booked = try await environment.ledger?.costs(of: [task])[task]
        let isOver = try await recording {
            try await store.finish(lease, ending, interruptedBy: runner.interrupter, cost: booked ?? machine.position.cost)
        }
        guard isOver else { return .messagesWait }
        changed(.events)
        return .finished
    }
}
