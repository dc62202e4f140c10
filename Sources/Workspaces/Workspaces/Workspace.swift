import Core
import Foundation
import Postgres
import Provisioning

/// Whose workspaces a call may reach: one owner's, or everybody's of the organization.
package struct WorkspaceScope: Sendable {
    package var organization: OrganizationID
    package var owner: UserID?

    package init(organization: OrganizationID, owner: UserID?) {
        self.organization = organization
        self.owner = owner
    }

    /// - Parameter everyones: whether the principal's permission reaches beyond what is their own.
    package init(_ principal: Principal, everyones: Bool) {
        self.init(organization: principal.organization, owner: everyones ? nil : principal.user)
    }
}

/// A workspace as it is now.
package struct Workspace: Sendable {
    package enum Agent: String, Sendable { case connecting, connected, disconnected }

    package var id: WorkspaceID
    package var organization: OrganizationID
    package var name: String
    package var owner: UserID
    package var ownerName: String
    package var task: TaskID?
    package var host: String
    /// Its place on its host; nil once it is deleted.
    package var place: Int?
    package var limits: SandboxLimits
    package var lifecycle: WorkspaceLifecycle
    /// The sandbox of the latest start; it may have ended.
    package var sandbox: SandboxRecord?
    /// By its own word; nil while nothing runs.
    package var agent: Agent?
    package var createdAt: Date
    package var updatedAt: Date

    package var status: WorkspaceStatus { lifecycle.status }
    package var reason: String? { lifecycle.reason }

    init(row: Row, ownHost: String) throws {
        id = try row["id"]
        organization = try row["organization_id"]
        name = try row["name"]
        owner = try row["owner_id"]
        ownerName = try row["username"]
        task = try row["task_id"]
        host = try row["host"]
        place = try row["place"]
        limits = try row["limits", as: JSON<SandboxLimits>.self].value
        sandbox = try row["sandbox", as: JSON<SandboxRecord>?.self]?.value
        createdAt = try row["created_at"]
        updatedAt = try row["updated_at"]
        let transition = Transition(rawValue: try row["transition"]) ?? .start
        let job = JobStatus(rawValue: try row["job_status"]) ?? .failed
        let seen = try row["host_seen", as: Bool.self]
        lifecycle = WorkspaceLifecycle(
            build: .init(
                number: try row["number"], transition: transition, job: job, error: try row["error"],
                end: try row["ended_cause", as: String?.self].flatMap(SandboxEnd.init), endMessage: try row["ended_message"]),
            isDeleted: try row["deleted_at", as: Date?.self] != nil, isHostReachable: host == ownHost || seen)
        if lifecycle.status == .running {
            let connected = try row["last_connected_at", as: Date?.self]
            let disconnected = try row["disconnected_at", as: Date?.self]
            agent = connected == nil ? .connecting : disconnected == nil ? .connected : .disconnected
        }
    }
}
