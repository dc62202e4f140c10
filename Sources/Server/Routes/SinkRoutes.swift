import API
import Core
import Gateway
import Hummingbird

/// `/api/v2/audit/sinks`.
struct SinkRoutes: Sendable {
    let gateway: Gateway

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.audit + "/sinks", .readAudit, list)
        table.on(.post, APIPaths.audit + "/sinks", .changeAuditRules, add)
        table.on(.delete, APIPaths.audit + "/sinks/{sink}", .changeAuditRules, remove)
        table.on(.post, APIPaths.audit + "/sinks/{sink}/test", .changeAuditRules, test)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        try .json(AuditSinkList(sinks: try await gateway.sinks.list(call.principal).map { $0.shown() }))
    }

    @Sendable func add(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(AddAuditSinkRequest.self)
        let (sink, secret) = try await gateway.sinks.add(
            call.principal, name: wanted.name, url: wanted.url, allowPrivate: wanted.allowPrivate ?? false,
            fromStart: wanted.fromStart ?? false)
        return try .json(sink.shown(secret: secret), status: .created)
    }

    @Sendable func remove(_ call: Call) async throws -> Response {
        try await gateway.sinks.remove(call.principal, name: try call.incoming.path("sink"))
        return Response(status: .noContent)
    }

    @Sendable func test(_ call: Call) async throws -> Response {
        try await gateway.sinks.test(call.principal, name: try call.incoming.path("sink"))
        return Response(status: .noContent)
    }
}

extension StoredSink {
    fileprivate func shown(secret: String? = nil) -> API.AuditSink {
        API.AuditSink(
            name: name, url: url, allowPrivate: allowsPrivateAddresses, failures: failures, lastError: lastError,
            deliveredAt: deliveredAt, createdAt: createdAt, secret: secret)
    }
}
