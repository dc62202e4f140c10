import API
import Core
import Foundation
import Workspaces

extension WorkspaceDesk {
    /// Lines in one answer; who gets as many asks for more.
    private static let page = 1000

    /// The newest 100.
    ///
    /// - Parameter seen: how long their logs were together; waits until that has changed, or for `patience`.
    package func builds(
        _ principal: Principal, _ reference: String, seen: Int? = nil, within patience: Duration = .zero
    ) async throws -> [API.WorkspaceBuild] {
        let scope = scope(principal)
        let workspace = try await workspaces.get(principal, everyones: scope.owner == nil, reference: reference)
        guard let seen else { return try await logs.builds(scope, of: workspace.id).map(\.shown) }
        return try await logs.builds(scope, of: workspace.id, seen: seen, within: patience).map(\.shown)
    }

    package func build(_ principal: Principal, _ id: BuildID) async throws -> API.WorkspaceBuild {
        try await logs.build(scope(principal), id).shown
    }

    package func buildLogs(_ principal: Principal, _ id: BuildID, after: Int64) async throws -> [ProvisionerJobLog] {
        try await logs.lines(scope(principal), ofBuild: id, after: after, limit: Self.page).map { line in
            ProvisionerJobLog(
                id: line.id, createdAt: line.at, logSource: line.source.rawValue, logLevel: line.level.rawValue, stage: line.stage,
                output: line.text)
        }
    }

    package func agentLogs(_ principal: Principal, _ id: AgentID, after: Int64) async throws -> [WorkspaceAgentLog] {
        try await logs.lines(scope(principal), ofAgent: id.uuid, after: after, limit: Self.page).map { line in
            WorkspaceAgentLog(id: line.id, createdAt: line.at, level: line.level.rawValue, output: line.text)
        }
    }

    private func scope(_ principal: Principal) -> WorkspaceScope {
        WorkspaceScope(principal, everyones: principal.reach(of: .readWorkspaces) == .everyones)
    }
}

extension Workspaces.WorkspaceBuild {
    fileprivate var shown: API.WorkspaceBuild {
        API.WorkspaceBuild(
            id: id.description, workspaceID: workspace.description, workspaceName: workspaceName, buildNumber: number,
            transition: transition.rawValue, reason: reason,
            job: .init(status: job.rawValue, error: error, completedAt: completedAt),
            agentID: agent?.uuidString.lowercased(), logLength: logLength, createdAt: createdAt)
    }
}
