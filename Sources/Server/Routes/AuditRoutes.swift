import API
import Core
import Hummingbird

/// `/api/v2/audit`: what was recorded, what was signed, and whether it still holds.
struct AuditRoutes: Sendable {
    /// An anchor of a year of checkpoints.
    private static let maxAnchorBytes = 64 << 20

    let desk: AuditDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.audit + "/entries", .readAudit, entries)
        table.on(.get, APIPaths.audit + "/checkpoints", .readAudit, checkpoints)
        table.on(.post, APIPaths.audit + "/verify", .verifyAudit, verify)
    }

    @Sendable func entries(_ call: Call) async throws -> Response {
        try .json(try await desk.entries(try call.incoming.page()))
    }

    @Sendable func checkpoints(_ call: Call) async throws -> Response {
        try .json(try await desk.checkpoints(try call.incoming.page()))
    }

    /// Without a body: without an anchor.
    @Sendable func verify(_ call: Call) async throws -> Response {
        let body = try await call.incoming.collect(upTo: Self.maxAnchorBytes)
        let wanted = body.readableBytes == 0 ? VerifyAuditRequest() : try Incoming.decode(VerifyAuditRequest.self, body)
        return try .json(try await desk.verify(anchor: wanted.anchor))
    }
}
