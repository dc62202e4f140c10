import API
import AgentLoop
import Core

extension TaskRecord {
    /// - Parameter scripted: whether its model replays a script and is no AI.
    func shown(scripted: Bool) -> AgentTask {
        AgentTask(
            id: id.description, name: name, title: title, ownerID: owner.description, owner: ownerName, status: status.rawValue,
            reason: reason, message: message, model: model, scripted: scripted,
            repository: TaskRepository(
                name: repository, baseBranch: baseBranch, baseCommit: baseCommit, branch: branch, headCommit: headCommit,
                changedFiles: changedFiles, additions: additions, deletions: deletions),
            workspaceID: workspace?.description,
            limits: API.TaskLimits(costNanoDollars: limits.cost?.value, steps: limits.steps, seconds: limits.seconds),
            usage: TaskUsage(costNanoDollars: cost.value, steps: steps, seconds: Int(activeSeconds)), lastSequence: Int64(lastSeq),
            createdAt: createdAt, updatedAt: updatedAt)
    }
}

extension API.TaskLimits {
    var wanted: AgentLoop.TaskLimits {
        AgentLoop.TaskLimits(cost: costNanoDollars.map { NanoDollars($0) }, steps: steps, seconds: seconds)
    }
}

extension AgentLoop.TaskEvent {
    var shown: API.TaskEvent {
        API.TaskEvent(
            sequence: Int64(seq), kind: kind.rawValue, at: at, step: payload.step, attempt: payload.attempt, from: payload.by,
            text: payload.text, model: payload.model, interceptionID: payload.interceptionID?.description, call: payload.call,
            tool: payload.tool, arguments: payload.arguments, isError: payload.isError, isPartial: payload.isPartial,
            exitCode: payload.exitCode,
            milliseconds: payload.milliseconds, bytes: payload.bytes, reason: payload.reason, until: payload.until,
            costNanoDollars: payload.cost?.value, totalCostNanoDollars: payload.totalCost?.value,
            workspaceID: payload.workspaceID?.description, branch: payload.branch, commit: payload.commit,
            changedFiles: payload.changedFiles, additions: payload.additions, deletions: payload.deletions)
    }
}
