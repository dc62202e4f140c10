import Foundation

public struct Workspace: Codable, Sendable, Equatable {
    public var id: String
    public var name: String
    public var ownerID: String
    public var owner: String
    /// `pending`, `starting`, `running`, `stopping`, `stopped`, `failed`, `deleting`, `deleted` or `unreachable`.
    public var status: String
    /// Why it is not as it should be.
    public var reason: String?
    /// `connected`, `connecting` or `disconnected`.
    public var agent: String?
    /// What the sandbox obtained on this host: uids, cgroup, quota.
    public var isolation: String?
    public var taskID: String?
    public var createdAt: Date
    public var updatedAt: Date

    public init(
        id: String, name: String, ownerID: String, owner: String, status: String, reason: String? = nil, agent: String? = nil,
        isolation: String? = nil, taskID: String? = nil, createdAt: Date, updatedAt: Date
    ) {
        self.id = id
        self.name = name
        self.ownerID = ownerID
        self.owner = owner
        self.status = status
        self.reason = reason
        self.agent = agent
        self.isolation = isolation
        self.taskID = taskID
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

public struct WorkspaceList: Codable, Sendable, Equatable {
    public var workspaces: [Workspace]
    public var after: String?

    public init(workspaces: [Workspace], after: String? = nil) {
        self.workspaces = workspaces
        self.after = after
    }
}

/// `POST /api/v2/workspaces`.
public struct CreateWorkspaceRequest: Codable, Sendable, Equatable {
    public var name: String

    public init(name: String) {
        self.name = name
    }
}

/// `POST /api/v2/workspaces/{workspace}/exec`: runs a command and waits for its end, or until the time has passed.
public struct ExecRequest: Codable, Sendable, Equatable {
    /// For `bash -c`.
    public var command: String
    public var directory: String?
    /// 1…3600, default 60; the command keeps running afterwards.
    public var timeoutSeconds: Int?

    public init(command: String, directory: String? = nil, timeoutSeconds: Int? = nil) {
        self.command = command
        self.directory = directory
        self.timeoutSeconds = timeoutSeconds
    }
}

public struct ExecResponse: Codable, Sendable, Equatable {
    public var processID: String
    /// `exited`, `signaled`, `running` or `unknown`.
    public var state: String
    public var exitCode: Int?
    public var signal: Int?
    public var output: String
    /// Bytes at the beginning are missing from `output`.
    public var truncated: Bool

    public init(processID: String, state: String, exitCode: Int? = nil, signal: Int? = nil, output: String, truncated: Bool) {
        self.processID = processID
        self.state = state
        self.exitCode = exitCode
        self.signal = signal
        self.output = output
        self.truncated = truncated
    }
}

/// One attempt to move a workspace: `GET /api/v2/workspaces/{workspace}/builds`, newest first.
public struct WorkspaceBuild: Codable, Sendable, Equatable {
    public struct Job: Codable, Sendable, Equatable {
        /// `pending`, `running`, `succeeded` or `failed`.
        public var status: String
        public var error: String?
        public var completedAt: Date?

        public init(status: String, error: String? = nil, completedAt: Date? = nil) {
            self.status = status
            self.error = error
            self.completedAt = completedAt
        }
    }

    public var id: String
    public var workspaceID: String
    public var workspaceName: String
    public var buildNumber: Int
    /// `start`, `stop` or `delete`.
    public var transition: String
    public var reason: String
    public var job: Job
    /// Of a start: for `/api/v2/workspaceagents/{agent}/logs`.
    public var agentID: String?
    /// Bytes in its log and in its agent's: grows when there is more to read.
    public var logLength: Int
    public var createdAt: Date

    public init(
        id: String, workspaceID: String, workspaceName: String, buildNumber: Int, transition: String, reason: String, job: Job,
        agentID: String? = nil, logLength: Int, createdAt: Date
    ) {
        self.id = id
        self.workspaceID = workspaceID
        self.workspaceName = workspaceName
        self.buildNumber = buildNumber
        self.transition = transition
        self.reason = reason
        self.job = job
        self.agentID = agentID
        self.logLength = logLength
        self.createdAt = createdAt
    }
}

/// A line of a build's log. `id` is the cursor: `?after=` takes it.
public struct ProvisionerJobLog: Codable, Sendable, Equatable {
    public var id: Int64
    public var createdAt: Date
    /// `provisioner_daemon` is the server itself, `provisioner` what it started.
    public var logSource: String
    /// `debug`, `info`, `warn` or `error`.
    public var logLevel: String
    public var stage: String
    public var output: String

    public init(id: Int64, createdAt: Date, logSource: String, logLevel: String, stage: String, output: String) {
        self.id = id
        self.createdAt = createdAt
        self.logSource = logSource
        self.logLevel = logLevel
        self.stage = stage
        self.output = output
    }
}

/// A line that a workspace's agent wrote of itself. `id` is the cursor: `?after=` takes it.
public struct WorkspaceAgentLog: Codable, Sendable, Equatable {
    public var id: Int64
    public var createdAt: Date
    public var level: String
    public var output: String

    public init(id: Int64, createdAt: Date, level: String, output: String) {
        self.id = id
        self.createdAt = createdAt
        self.level = level
        self.output = output
    }
}
