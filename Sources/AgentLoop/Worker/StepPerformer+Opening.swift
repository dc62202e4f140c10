import Core

extension StepPerformer {
    mutating func open() {
        let (runner, snapshot, lease, trace) = (runner, snapshot, lease, trace)
        runBeside {
            do {
                let environment = runner.environment
                let workspace = try await trace.within("open workspace") {
                    try await environment.workspaces.open(
                        task: lease.task, name: snapshot.name, principal: snapshot.principal, known: snapshot.workspace)
                }
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
        case let error as AppError where error.code == .conflict && error.field == "fence":
            return .broke(LeaseLost(task: lease.task))
        case let error as AppError:
            var asked: Duration?
            if case .after(let delay) = error.retry { asked = delay }
            switch error.code {
            case .unavailable, .timeout, .upstream, .internal, .rateLimited, .conflict:
                // A conflict is a workspace that could not be started, or that somebody stops: it may be mended.
                return .step(.openFailed(.unavailable(error.message, retryAfter: asked)))
            case .badRequest, .unauthenticated, .forbidden, .notFound, .tooLarge, .budgetExceeded, .policyDenied:
                return .step(.openFailed(.refused(.workspace, message: error.message)))
            }
        default: return .broke(error)
        }
    }
}
