import API
import Core
import Foundation
import Hummingbird

/// The page of workspaces.
struct WorkspacePageRoutes: Sendable {
    let responder: PageResponder
    let workspaces: WorkspaceDesk

    func register(on table: RouteTable) {
        let failed = responder.failed
        table.page(.get, "/workspaces", .readWorkspaces, failed: failed, list)
        table.page(.post, "/workspaces/{workspace}/start", .changeWorkspaces, failed: failed) { call in
            _ = try await workspaces.start(call.principal, try call.incoming.path("workspace"))
            return responder.seeOther("/workspaces")
        }
        table.page(.post, "/workspaces/{workspace}/stop", .changeWorkspaces, failed: failed) { call in
            _ = try await workspaces.stop(call.principal, try call.incoming.path("workspace"))
            return responder.seeOther("/workspaces")
        }
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        let list = try await workspaces.list(call.principal, try PageRequest(limit: 200))
        return try responder.page(
            WorkspacesPage(
                frame: PageFrame(title: "Workspaces", principal: call.principal, section: .workspaces), list: list,
                mayChange: call.principal.reach(of: .changeWorkspaces) > .none, now: Date()))
    }
}
