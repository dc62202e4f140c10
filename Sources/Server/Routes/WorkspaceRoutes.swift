import API
import Core
import HTTPTypes
import Hummingbird

/// `/api/v2/workspaces`.
struct WorkspaceRoutes: Sendable {
    let desk: WorkspaceDesk

    func register(on table: RouteTable) {
        let one = APIPaths.workspaces + "/{workspace}"
        table.on(.get, APIPaths.workspaces, .readWorkspaces, list)
        table.on(.post, APIPaths.workspaces, .changeWorkspaces, create)
        table.on(.get, one, .readWorkspaces, get)
        table.on(.post, one + "/start", .changeWorkspaces, start)
        table.on(.post, one + "/stop", .changeWorkspaces, stop)
        table.on(.delete, one, .changeWorkspaces, delete)
        table.on(.post, one + "/exec", .enterWorkspaces, exec)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        try .json(try await desk.list(call.principal, try call.incoming.page()))
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateWorkspaceRequest.self)
        return try .json(try await desk.create(call.principal, name: wanted.name), status: .created)
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await desk.get(call.principal, try call.incoming.path("workspace")))
    }

    @Sendable func start(_ call: Call) async throws -> Response {
        try .json(try await desk.start(call.principal, try call.incoming.path("workspace")), status: .accepted)
    }

    @Sendable func stop(_ call: Call) async throws -> Response {
        try .json(try await desk.stop(call.principal, try call.incoming.path("workspace")), status: .accepted)
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try .json(try await desk.delete(call.principal, try call.incoming.path("workspace")), status: .accepted)
    }

    /// Ends early when the client leaves; the command then runs on.
    @Sendable func exec(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(ExecRequest.self)
        let workspace = try call.incoming.path("workspace")
        let result = try await call.incoming.context.disconnect().cancelling { [desk] in
            try await desk.exec(call.principal, workspace, wanted)
        }
        return try .json(result)
    }
}
