import API
import Core
import Hummingbird

/// `/api/v2/workspaces/{workspace}/builds`, `/api/v2/workspacebuilds` and `/api/v2/workspaceagents`: what happened to a workspace.
struct WorkspaceLogRoutes: Sendable {
    let desk: WorkspaceDesk
    let goingAway: GoingAway

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.workspaces + "/{workspace}/builds", .readWorkspaces, builds)
        table.on(.get, APIPaths.workspaceBuilds + "/{build}", .readWorkspaces, build)
        table.on(.get, APIPaths.workspaceBuilds + "/{build}/logs", .readWorkspaces, buildLogs)
        table.on(.get, APIPaths.workspaceAgents + "/{agent}/logs", .readWorkspaces, agentLogs)
    }

    @Sendable func builds(_ call: Call) async throws -> Response {
        let workspace = try call.incoming.path("workspace")
        guard let seen = try call.incoming.queryInt("seen") else {
            return try .json(try await desk.builds(call.principal, workspace))
        }
        let patience = Duration.seconds(min(max(try call.incoming.queryInt("wait") ?? 0, 0), 60))
        let found = try await call.incoming.context.disconnect().cancelling { [desk, goingAway] in
            try await goingAway.unlessSet { try await desk.builds(call.principal, workspace, seen: seen, within: patience) }
        }
        // The server goes away: what there is now, and the next question finds another one.
        if let found { return try .json(found) }
        return try .json(try await desk.builds(call.principal, workspace))
    }

    @Sendable func build(_ call: Call) async throws -> Response {
        try .json(try await desk.build(call.principal, try call.incoming.id("build")))
    }

    @Sendable func buildLogs(_ call: Call) async throws -> Response {
        try .json(try await desk.buildLogs(call.principal, try call.incoming.id("build"), after: try after(call)))
    }

    @Sendable func agentLogs(_ call: Call) async throws -> Response {
        try .json(try await desk.agentLogs(call.principal, try call.incoming.id("agent"), after: try after(call)))
    }

    /// The id of the last line that was read.
    private func after(_ call: Call) throws -> Int64 {
        guard let text = call.incoming.query("after") else { return 0 }
        guard let id = Int64(text), id >= 0 else {
            throw AppError(.badRequest, "after is '\(text)'; expected the id of a line.", field: "after")
        }
        return id
    }
}
