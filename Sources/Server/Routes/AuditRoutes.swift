import API
import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// `/api/v2/audit`: what was recorded, what was signed, and whether it still holds.
struct AuditRoutes: Sendable {
    /// An anchor of a year of checkpoints.
    private static let maxAnchorBytes = 64 << 20

    let desk: AuditDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.audit + "/entries", .readAudit, entries)
        table.on(.get, APIPaths.audit + "/facts", .readAudit, facts)
        table.on(.get, APIPaths.audit + "/checkpoints", .readAudit, checkpoints)
        table.on(.post, APIPaths.audit + "/verify", .verifyAudit, verify)
        table.on(.get, APIPaths.audit + "/export", .exportAudit, export)
        table.on(.get, APIPaths.audit + "/prove/{interception}", .exportAudit, prove)
    }

    @Sendable func entries(_ call: Call) async throws -> Response {
        try .json(try await desk.entries(try call.incoming.page()))
    }

    /// What was changed, the newest first; `?kind=user` takes `user.create` and the like, `?subject=` one subject, `?actor=` one user's.
    @Sendable func facts(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        return try .json(
            try await desk.facts(
                call.principal, kind: incoming.query("kind"), subject: incoming.query("subject"), actor: incoming.query("actor"),
                try incoming.page()))
    }

    @Sendable func checkpoints(_ call: Call) async throws -> Response {
        try .json(try await desk.checkpoints(try call.incoming.page()))
    }

    /// The whole record, a JSON object a line, as fast as it is taken.
    @Sendable func export(_ call: Call) async throws -> Response {
        let export = try await desk.export(call.principal, requestID: call.incoming.requestID)
        return Response(
            status: .ok, headers: [.contentType: "application/jsonl"],
            body: ResponseBody { writer in
                var sink = writer
                try await export.run { try await sink.write(ByteBuffer(string: $0)) }
                try await sink.finish(nil)
            })
    }

    @Sendable func prove(_ call: Call) async throws -> Response {
        let text = try await desk.prove(call.principal, try call.incoming.id("interception"))
        return Response(
            status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: text)))
    }

    /// Without a body: without an anchor.
    @Sendable func verify(_ call: Call) async throws -> Response {
        let body = try await call.incoming.collect(upTo: Self.maxAnchorBytes)
        let wanted = body.readableBytes == 0 ? VerifyAuditRequest() : try Incoming.decode(VerifyAuditRequest.self, body)
        return try .json(try await desk.verify(anchor: wanted.anchor))
    }
}
