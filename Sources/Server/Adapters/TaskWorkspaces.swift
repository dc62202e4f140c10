import AgentLoop
import Core
import Workspaces

/// The workspaces of tasks.
struct TaskWorkspaces: WorkspaceProvider {
    /// Where the sandbox has a workspace's home.
    static let home = "/home/work"

    let workspaces: WorkspaceService

    func open(task: TaskID, name: String, principal: Principal, known: WorkspaceID?) async throws -> OpenWorkspace {
        let (workspace, agent) = try await workspaces.open(task: task, name: name, principal: principal, known: known)
        return OpenWorkspace(
            id: workspace.id, tools: AgentTools(agent: agent, task: task), home: Self.home, sandbox: agent.sandbox)
    }
}
