import Foundation

/// What a task may use before it pauses and asks; absent: no such limit.
public struct TaskLimits: Codable, Sendable, Equatable {
    /// Billionths of a US dollar.
    public var costNanoDollars: Int64?
    public var steps: Int?
    /// Wall clock while the task was running.
    public var seconds: Int?

    public init(costNanoDollars: Int64? = nil, steps: Int? = nil, seconds: Int? = nil) {
        self.costNanoDollars = costNanoDollars
        self.steps = steps
        self.seconds = seconds
    }
}

/// What a task has used so far.
public struct TaskUsage: Codable, Sendable, Equatable {
    public var costNanoDollars: Int64
    public var steps: Int
    public var seconds: Int

    public init(costNanoDollars: Int64, steps: Int, seconds: Int) {
        self.costNanoDollars = costNanoDollars
        self.steps = steps
        self.seconds = seconds
    }
}

/// The repository a task works on, and what it changed there.
public struct TaskRepository: Codable, Sendable, Equatable {
    public var name: String
    public var baseBranch: String?
    public var baseCommit: String?
    /// Where the result is: `slipway/<task>`.
    public var branch: String
    /// Absent until there is a commit.
    public var headCommit: String?
    public var changedFiles: Int
    public var additions: Int
    public var deletions: Int

    public init(
        name: String, baseBranch: String? = nil, baseCommit: String? = nil, branch: String, headCommit: String? = nil,
        changedFiles: Int, additions: Int, deletions: Int
    ) {
        self.name = name
        self.baseBranch = baseBranch
        self.baseCommit = baseCommit
        self.branch = branch
        self.headCommit = headCommit
        self.changedFiles = changedFiles
        self.additions = additions
        self.deletions = deletions
    }
}

/// A conversation with a goal, bound to a workspace.
public struct AgentTask: Codable, Sendable, Equatable {
    public var id: String
    /// Short, for people; the branch is named after it.
    public var name: String
    public var title: String
    public var ownerID: String
    public var owner: String
    /// `queued`, `running`, `waiting`, `paused`, `interrupted`, `completed` or `failed`.
    public var status: String
    /// Why it waits, is paused or has failed, as a word for programs.
    public var reason: String?
    /// The same as a sentence for people, with what to do.
    public var message: String?
    public var model: String
    /// The model replays a script and is no AI.
    public var scripted: Bool
    public var repository: TaskRepository
    public var workspaceID: String?
    public var limits: TaskLimits
    public var usage: TaskUsage
    /// The number of its newest event.
    public var lastSequence: Int64
    public var createdAt: Date
    public var updatedAt: Date

    public init(
        id: String, name: String, title: String, ownerID: String, owner: String, status: String, reason: String? = nil,
        message: String? = nil, model: String, scripted: Bool, repository: TaskRepository, workspaceID: String? = nil,
        limits: TaskLimits, usage: TaskUsage, lastSequence: Int64, createdAt: Date, updatedAt: Date
    ) {
        self.id = id
        self.name = name
        self.title = title
        self.ownerID = ownerID
        self.owner = owner
        self.status = status
        self.reason = reason
        self.message = message
        self.model = model
        self.scripted = scripted
        self.repository = repository
        self.workspaceID = workspaceID
        self.limits = limits
        self.usage = usage
        self.lastSequence = lastSequence
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

public struct TaskList: Codable, Sendable, Equatable {
    public var tasks: [AgentTask]
    public var after: String?

    public init(tasks: [AgentTask], after: String? = nil) {
        self.tasks = tasks
        self.after = after
    }
}

/// `POST /api/v2/tasks`.
public struct CreateTaskRequest: Codable, Sendable, Equatable {
    public var prompt: String
    /// Default: the server's.
    public var model: String?
    /// An uploaded git bundle (`POST /api/v2/files`).
    public var fileID: String
    /// How the repository is called in lists.
    public var repositoryName: String?
    /// Which branch of the bundle to start from; default: its HEAD.
    public var baseBranch: String?
    public var limits: TaskLimits?

    public init(
        prompt: String, model: String? = nil, fileID: String, repositoryName: String? = nil, baseBranch: String? = nil,
        limits: TaskLimits? = nil
    ) {
        self.prompt = prompt
        self.model = model
        self.fileID = fileID
        self.repositoryName = repositoryName
        self.baseBranch = baseBranch
        self.limits = limits
    }
}

/// One committed event. Which fields are set depends on `kind`: `message_queued`, `user_message`, `workspace_ready`, `step_started`,
/// `thinking`, `text`, `tool_call`, `tool_result`, `cost`, `remark`, `step_failed`, `context_pruned`, `waiting`, `paused`, `resumed`,
/// `interrupt_requested`, `interrupted`, `committed`, `completed`, `failed`.
public struct TaskEvent: Codable, Sendable, Equatable {
    public var sequence: Int64
    public var kind: String
    public var at: Date
    public var step: Int?
    public var attempt: Int?
    /// Who wrote a message.
    public var from: String?
    public var text: String?
    public var model: String?
    public var interceptionID: String?
    /// Number of the tool call within the task: a result has its call's.
    public var call: Int?
    public var tool: String?
    /// JSON as the model wrote it.
    public var arguments: String?
    public var isError: Bool?
    /// Of `text` and `thinking`: the answer broke off there.
    public var isPartial: Bool?
    public var exitCode: Int?
    public var milliseconds: Int?
    public var bytes: Int?
    public var reason: String?
    public var until: Date?
    public var costNanoDollars: Int64?
    public var totalCostNanoDollars: Int64?
    public var workspaceID: String?
    public var branch: String?
    public var commit: String?
    public var changedFiles: Int?
    public var additions: Int?
    public var deletions: Int?

    public init(
        sequence: Int64, kind: String, at: Date, step: Int? = nil, attempt: Int? = nil, from: String? = nil, text: String? = nil,
        model: String? = nil, interceptionID: String? = nil, call: Int? = nil, tool: String? = nil, arguments: String? = nil,
        isError: Bool? = nil, isPartial: Bool? = nil, exitCode: Int? = nil, milliseconds: Int? = nil, bytes: Int? = nil,
        reason: String? = nil,
        until: Date? = nil, costNanoDollars: Int64? = nil, totalCostNanoDollars: Int64? = nil, workspaceID: String? = nil,
        branch: String? = nil, commit: String? = nil, changedFiles: Int? = nil, additions: Int? = nil, deletions: Int? = nil
    ) {
        self.sequence = sequence
        self.kind = kind
        self.at = at
        self.step = step
        self.attempt = attempt
        self.from = from
        self.text = text
        self.model = model
        self.interceptionID = interceptionID
        self.call = call
        self.tool = tool
        self.arguments = arguments
        self.isError = isError
        self.isPartial = isPartial
        self.exitCode = exitCode
        self.milliseconds = milliseconds
        self.bytes = bytes
        self.reason = reason
        self.until = until
        self.costNanoDollars = costNanoDollars
        self.totalCostNanoDollars = totalCostNanoDollars
        self.workspaceID = workspaceID
        self.branch = branch
        self.commit = commit
        self.changedFiles = changedFiles
        self.additions = additions
        self.deletions = deletions
    }
}

/// `GET /api/v2/tasks/{task}/events?after=&wait=`.
public struct TaskEventList: Codable, Sendable, Equatable {
    public var events: [TaskEvent]
    public var task: AgentTask

    public init(events: [TaskEvent], task: AgentTask) {
        self.events = events
        self.task = task
    }
}

/// `POST /api/v2/tasks/{task}/messages`.
public struct SendMessageRequest: Codable, Sendable, Equatable {
    public var text: String

    public init(text: String) {
        self.text = text
    }
}

/// `POST /api/v2/tasks/{task}/resume`: limits that are given replace those the task has.
public struct ResumeTaskRequest: Codable, Sendable, Equatable {
    public var limits: TaskLimits?

    public init(limits: TaskLimits? = nil) {
        self.limits = limits
    }
}

/// `POST /api/v2/files`: the answer to an upload.
public struct UploadedFile: Codable, Sendable, Equatable {
    public var id: String
    /// SHA-256 of the bytes, hexadecimal.
    public var hash: String
    public var size: Int64

    public init(id: String, hash: String, size: Int64) {
        self.id = id
        self.hash = hash
        self.size = size
    }
}

/// `POST /api/v2/tasks/{task}/approval`: whether the call may be made for which the task waits.
public struct AnswerApprovalRequest: Codable, Sendable, Equatable {
    public var allow: Bool

    public init(allow: Bool) { self.allow = allow }
}
