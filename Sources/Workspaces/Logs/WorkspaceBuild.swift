import Core
import Foundation
import Postgres

/// One attempt to move a workspace, as people see it.
package struct WorkspaceBuild: Sendable {
    package var id: BuildID
    package var workspace: WorkspaceID
    package var workspaceName: String
    package var number: Int
    package var transition: Transition
    package var reason: String
    package var job: JobStatus
    package var error: String?
    package var createdAt: Date
    package var completedAt: Date?
    /// Of a start: the agent that was let in.
    package var agent: UUID?
    /// Bytes in its log and in its agent's.
    package var logLength: Int
}

/// Builds and logs, for people.
package struct WorkspaceLogs: Sendable {
    /// What another server writes is noticed after this time.
    private static let pollInterval = Duration.seconds(1)

    let pool: PostgresPool
    let changes: WorkspaceChanges

    /// Newest first.
    package func builds(_ scope: WorkspaceScope, of workspace: WorkspaceID, limit: Int = 100) async throws -> [WorkspaceBuild] {
        try await builds("\(within(scope)) AND w.id = \(workspace)", limit: limit)
    }

    /// The same, as soon as their logs have another length together than `seen`, at the latest after `patience`.
    package func builds(
        _ scope: WorkspaceScope, of workspace: WorkspaceID, seen: Int, within patience: Duration
    ) async throws -> [WorkspaceBuild] {
        let end = ContinuousClock.now + patience
        return try await changes.withBell(workspace) { bell in
            while true {
                let builds = try await builds(scope, of: workspace)
                let left = end - .now
                if builds.reduce(0, { $0 + $1.logLength }) != seen || left <= .zero { return builds }
                await bell.wait(min(left, Self.pollInterval))
                try Task.checkCancellation()
            }
        }
    }

    /// - Throws: `notFound`.
    package func build(_ scope: WorkspaceScope, _ id: BuildID) async throws -> WorkspaceBuild {
        guard let found = try await builds("\(within(scope)) AND b.id = \(id)", limit: 1).first else {
            throw AppError(.notFound, "There is no build \(id).", field: "build")
        }
        return found
    }

    /// - Parameter after: the id of the last line that was read; 0 from the beginning.
    package func lines(_ scope: WorkspaceScope, ofBuild id: BuildID, after: Int64, limit: Int) async throws -> [LogLine] {
        _ = try await build(scope, id)
        return try await LogStore.builds(pool).read(id.uuid, after: after, limit: limit)
    }

    package func lines(_ scope: WorkspaceScope, ofAgent id: UUID, after: Int64, limit: Int) async throws -> [LogLine] {
        let known = try await pool.query(
            "SELECT FROM workspace_agents a JOIN workspaces w ON w.id = a.workspace_id WHERE \(within(scope)) AND a.id = \(id)")
        guard !known.isEmpty else { throw AppError(.notFound, "There is no agent \(id.uuidString.lowercased()).", field: "agent") }
        return try await LogStore.agents(pool).read(id, after: after, limit: limit)
    }

    private func within(_ scope: WorkspaceScope) -> Query {
        "w.organization_id = \(scope.organization) AND (\(scope.owner) IS NULL OR w.owner_id = \(scope.owner))"
    }

    private func builds(_ condition: Query, limit: Int) async throws -> [WorkspaceBuild] {
        try await pool.query(
            """
            SELECT b.id, b.workspace_id, w.name, b.number, b.transition, b.reason, b.created_at, j.status, j.error, j.completed_at,
                (SELECT a.id FROM workspace_agents a WHERE a.build_id = b.id ORDER BY a.created_at DESC LIMIT 1) AS agent_id,
                b.logs_length + coalesce((SELECT sum(a.logs_length) FROM workspace_agents a WHERE a.build_id = b.id), 0)::bigint
                    AS logs_length
            FROM workspace_builds b JOIN workspaces w ON w.id = b.workspace_id JOIN provisioner_jobs j ON j.id = b.job_id
            WHERE \(condition) ORDER BY b.number DESC LIMIT \(limit)
            """
        ).map { row in
            WorkspaceBuild(
                id: try row["id"], workspace: try row["workspace_id"], workspaceName: try row["name"], number: try row["number"],
                transition: Transition(rawValue: try row["transition"]) ?? .start, reason: try row["reason"],
                job: JobStatus(rawValue: try row["status"]) ?? .failed, error: try row["error"], createdAt: try row["created_at"],
                completedAt: try row["completed_at"], agent: try row["agent_id"], logLength: try row["logs_length"])
        }
    }
}
