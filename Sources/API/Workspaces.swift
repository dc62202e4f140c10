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
