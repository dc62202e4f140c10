import API
import Core
import Hummingbird

/// `/api/v2/groups`.
struct GroupRoutes: Sendable {
    let groups: GroupService

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.groups, .readGroups, list)
        table.on(.post, APIPaths.groups, .changeGroups, create)
        table.on(.get, APIPaths.groups + "/{group}", .readGroups, get)
        table.on(.delete, APIPaths.groups + "/{group}", .changeGroups, delete)
        table.on(.put, APIPaths.groups + "/{group}/members/{user}", .changeGroups) { try await setMember($0, true) }
        table.on(.delete, APIPaths.groups + "/{group}/members/{user}", .changeGroups) { try await setMember($0, false) }
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        try .json(GroupList(groups: try await groups.list(call.principal).map(\.shown)))
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await groups.get(call.principal, try call.incoming.path("group")).shown)
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateGroupRequest.self)
        return try .json(try await groups.create(call.principal, name: wanted.name).shown, status: .created)
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await groups.delete(call.principal, try call.incoming.path("group"))
        return .noContent
    }

    private func setMember(_ call: Call, _ isMember: Bool) async throws -> Response {
        let (group, user) = (try call.incoming.path("group"), try call.incoming.path("user"))
        return try .json(try await groups.setMember(call.principal, group, user, isMember).shown)
    }
}

extension GroupRecord {
    fileprivate var shown: API.Group {
        API.Group(id: id.uuidString.lowercased(), name: name, members: members, createdAt: createdAt)
    }
}
