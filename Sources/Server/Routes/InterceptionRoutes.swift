import API
import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// `/api/v2/ai-gateway/interceptions`, `…/sessions` and `…/usage`.
struct InterceptionRoutes: Sendable {
    let desk: InterceptionDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.interceptions, .readInterceptions, list)
        table.on(.get, APIPaths.interceptions + "/{interception}", .readInterceptions, get)
        table.on(.get, APIPaths.interceptions + "/{interception}/content/{part}", .readInterceptions, content)
        table.on(.get, APIPaths.sessions, .readInterceptions, sessions)
        table.on(.get, APIPaths.sessions + "/{session}", .readInterceptions, session)
        table.on(.get, APIPaths.sessions + "/{session}/tree", .readInterceptions, tree)
        table.on(.get, APIPaths.usage, .readInterceptions, usage)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        if try isFile(call) { return try await csv(call, desk.csv) }
        return try .json(
            try await desk.list(
                call.principal, try .init(call.incoming), try call.incoming.page(), requestID: call.incoming.requestID))
    }

    /// - Throws: `badRequest` for a format that there is not.
    private func isFile(_ call: Call) throws -> Bool {
        switch call.incoming.query("format") ?? "json" {
        case "json": return false
        case "csv": return true
        case let format:
            throw AppError(.badRequest, "format is '\(format.prefix(32))'; it can be 'json' or 'csv'.", field: "format")
        }
    }

    private typealias Files = @Sendable (Principal, InterceptionDesk.Query, Int?) async throws -> InterceptionDesk.File

    private func csv(_ call: Call, _ files: Files) async throws -> Response {
        let limit = try call.incoming.queryInt("limit")
        if let limit, limit < 1 {
            throw AppError(.badRequest, "limit is \(limit); a file has at least one line, and all without 'limit'.", field: "limit")
        }
        if call.incoming.query("after") != nil {
            throw AppError(.badRequest, "A file has no pages: leave 'after' out; 'limit' is how many lines it has.", field: "after")
        }
        let file = try await files(call.principal, try .init(call.incoming), limit)
        return Response(
            status: .ok, headers: [.contentType: "text/csv; charset=utf-8"],
            body: ResponseBody { writer in
                var sink = writer
                try await file { try await sink.write(ByteBuffer(string: $0)) }
                try await sink.finish(nil)
            })
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await desk.get(call.principal, try call.incoming.id("interception"), requestID: call.incoming.requestID))
    }

    /// Bytes of a client or a model: nothing that a browser should show as what they say they are.
    @Sendable func content(_ call: Call) async throws -> Response {
        let body = try await desk.content(
            call.principal, try call.incoming.id("interception"), part: try call.incoming.path("part"),
            requestID: call.incoming.requestID)
        return Response(
            status: .ok,
            headers: [
                .contentType: "application/octet-stream", .contentDisposition: "attachment",
                Self.recordedType: body.contentType, Self.recordedWhole: "\(body.isComplete)",
            ], body: ResponseBody(byteBuffer: ByteBuffer(bytes: body.bytes)))
    }

    private static let recordedType = HTTPField.Name("x-slipway-content-type")!
    private static let recordedWhole = HTTPField.Name("x-slipway-content-complete")!

    @Sendable func sessions(_ call: Call) async throws -> Response {
        if try isFile(call) { return try await csv(call, desk.sessionsCSV) }
        return try .json(
            try await desk.sessions(
                call.principal, try .init(call.incoming), try call.incoming.page(), requestID: call.incoming.requestID))
    }

    /// The calls of one session, newest first.
    @Sendable func session(_ call: Call) async throws -> Response {
        var query = try InterceptionDesk.Query(call.incoming)
        query.session = try call.incoming.path("session")
        return try .json(try await desk.list(call.principal, query, try call.incoming.page(), requestID: call.incoming.requestID))
    }

    @Sendable func tree(_ call: Call) async throws -> Response {
        try .json(
            try await desk.tree(
                call.principal, session: try call.incoming.path("session"), requestID: call.incoming.requestID))
    }

    /// `user` (`me`, `all`, a name or an id), `period=2026-11`; default: one's own of this month.
    @Sendable func usage(_ call: Call) async throws -> Response {
        try .json(
            try await desk.usage(
                call.principal, period: call.incoming.query("period"), user: call.incoming.query("user")))
    }
}

extension InterceptionDesk.Query {
    init(_ incoming: Incoming) throws {
        self.init()
        initiator = incoming.query("initiator")
        group = incoming.query("group")
        provider = incoming.query("provider")
        providerName = incoming.query("provider_name")
        model = incoming.query("model")
        client = incoming.query("client")
        session = incoming.query("session_id")
        task = incoming.query("task_id")
        policy = incoming.query("policy")
        decision = incoming.query("decision")
        status = incoming.query("status")
        tool = incoming.query("tool")
        text = incoming.query("text")
        costAtLeast = try incoming.queryInt("min_cost_nano_dollars").map { NanoDollars(Int64($0)) }
        costAtMost = try incoming.queryInt("max_cost_nano_dollars").map { NanoDollars(Int64($0)) }
        startedAfter = try incoming.queryDate("started_after")
        startedBefore = try incoming.queryDate("started_before")
    }
}
