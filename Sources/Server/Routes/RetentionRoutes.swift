import API
import Core
import Hummingbird

/// `/api/v2/audit/rules` and `/api/v2/audit/holds`.
struct RetentionRoutes: Sendable {
    let desk: RetentionDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.audit + "/rules", .readAudit, rules)
        table.on(.put, APIPaths.audit + "/rules/content-mode", .changeAuditRules, setMode)
        table.on(.put, APIPaths.audit + "/rules/retention", .changeAuditRules, setRetention)
        table.on(.get, APIPaths.audit + "/holds", .readAudit, holds)
        table.on(.post, APIPaths.audit + "/holds", .changeAuditHolds, addHold)
        table.on(.delete, APIPaths.audit + "/holds/{hold}", .changeAuditHolds, removeHold)
    }

    @Sendable func rules(_ call: Call) async throws -> Response { try .json(try await desk.rules(call.principal)) }

    @Sendable func setMode(_ call: Call) async throws -> Response {
        try .json(try await desk.setMode(call.principal, try await call.incoming.json()))
    }

    @Sendable func setRetention(_ call: Call) async throws -> Response {
        try .json(try await desk.setRetention(call.principal, try await call.incoming.json()))
    }

    @Sendable func holds(_ call: Call) async throws -> Response { try .json(try await desk.holds(call.principal)) }

    @Sendable func addHold(_ call: Call) async throws -> Response {
        try .json(try await desk.addHold(call.principal, try await call.incoming.json()), status: .created)
    }

    @Sendable func removeHold(_ call: Call) async throws -> Response {
        try await desk.removeHold(call.principal, id: try call.incoming.id("hold", of: ID<Nouns.Session>.self).uuid)
        return Response(status: .noContent)
    }
}
