import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport

@testable import Gateway

/// A server of tools, scripted: it opens sessions and lists tools properly, and does with calls what a test says.
final class ToolUpstream: Sendable {
    struct Seen: Sendable {
        var head: String
        var method: String
        var body: String
    }

    typealias Answer = @Sendable (_ id: String, _ tool: String, _ connection: RawConnection) async throws -> Void

    private let requests = NIOLockedValueBox<[Seen]>([])
    private let sessions = NIOLockedValueBox((last: 0, known: Set<String>()))
    let tools: [String]
    /// Each page of its list of tools has one more behind it.
    let isEndless: Bool
    /// It never answers who asks for its tools.
    let isSilent: Bool
    private let answer: Answer

    init(
        tools: [String] = ["echo", "delete_all"], isEndless: Bool = false, isSilent: Bool = false,
        _ answer: @escaping Answer = ToolUpstream.text("done")
    ) {
        self.tools = tools
        self.isEndless = isEndless
        self.isSilent = isSilent
        self.answer = answer
    }

    var seen: [Seen] { requests.withLockedValue { $0 } }
    func seen(_ method: String) -> [Seen] { seen.filter { $0.method == method } }
    func forgetSessions() { sessions.withLockedValue { $0.known = [] } }

    /// Answers a call with text, as one JSON body.
    static func text(_ text: String, isError: Bool = false) -> Answer {
        { id, _, connection in
            try await send(
                connection,
                #"{"jsonrpc":"2.0","id":\#(id),"result":{"content":[{"type":"text","text":"\#(text)"}],"isError":\#(isError)}}"#)
        }
    }

    static func send(_ connection: RawConnection, _ json: String, status: String = "200 OK", extra: String = "") async throws {
        try await connection.send(Upstream.head(status: status, length: json.utf8.count, extra: extra) + json)
    }

    var script: RawServer.Script {
        { connection in
            while let request = try await connection.request() { try await self.handle(request, connection) }
        }
    }

    func handle(_ request: RawConnection.Request, _ connection: RawConnection) async throws {
        let body = String(buffer: request.body)
        let fields = JSONObjectText(body)
        let method = request.head.hasPrefix("DELETE") ? "DELETE" : fields?.string("method") ?? "answer"
        self.requests.withLockedValue { $0.append(Seen(head: request.head, method: method, body: body)) }
        let id = fields?["id"] ?? "null"
        let session = request.lines.first { $0.lowercased().hasPrefix("mcp-session-id: ") }.map { String($0.dropFirst(16)) }
        let isKnown = self.sessions.withLockedValue { $0.known.contains(session ?? "") }
        if method != "initialize", !isKnown {
            try await Self.send(connection, "{}", status: "404 Not Found")
            return
        }
        switch method {
        case "initialize":
            let name = self.sessions.withLockedValue { sessions in
                sessions.last += 1
                sessions.known.insert("s\(sessions.last)")
                return "s\(sessions.last)"
            }
            try await Self.send(
                connection,
                #"{"jsonrpc":"2.0","id":\#(id),"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}}"#,
                extra: "Mcp-Session-Id: \(name)\r\n")
        case "tools/list" where isSilent: _ = try await connection.request()
        case "tools/list":
            let list = self.tools.map {
                #"{"name":"\#($0)","description":"A tool.","inputSchema":{"type":"object"},"x":1.0}"#
            }
            let next = isEndless ? #","nextCursor":"\#(seen("tools/list").count)""# : ""
            try await Self.send(
                connection, #"{"jsonrpc":"2.0","id":\#(id),"result":{"tools":[\#(list.joined(separator: ","))]\#(next)}}"#)
        case "tools/call":
            try await self.answer(id, fields?.object("params")?.string("name") ?? "", connection)
        default: try await connection.send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        }
    }
}

extension Stage {
    /// A gateway with this server registered as `tools`.
    static func withTools<R: Sendable>(
        _ upstream: ToolUpstream = ToolUpstream(), change: ToolServerService.Change = .init(),
        _ body: (Stage, Gateway, ToolClient) async throws -> R
    ) async throws -> R {
        try await with(upstream.script) { stage in
            try await stage.gateway { gateway in
                var change = change
                if change.url == nil { change.url = stage.upstream + "/mcp" }
                if change.allowsPrivateAddresses == nil { change.allowsPrivateAddresses = true }
                _ = try await gateway.tools.servers.create(stage.user, name: "tools", change)
                return try await body(stage, gateway, ToolClient(gateway, stage.user))
            }
        }
    }

    /// All calls of tools, oldest first, as `tool status error`.
    func toolCalls() async throws -> [String] {
        try await pool.query(
            """
            SELECT c.tool, c.decision, coalesce(r.status, 'unknown') AS status FROM ai_mcp_calls c
            LEFT JOIN ai_mcp_results r ON r.call_id = c.id ORDER BY c.started_at, c.id
            """
        ).map { "\(try $0["tool", as: String.self]) \(try $0["decision", as: String.self]) \(try $0["status", as: String.self])" }
    }
}

/// A client at our endpoint.
struct ToolClient: Sendable {
    let endpoint: ToolEndpoint
    let principal: Principal
    var session: String?

    init(_ gateway: Gateway, _ principal: Principal) {
        endpoint = ToolEndpoint(gateway)
        self.principal = principal
    }

    func send(_ json: String, events: Bool = false) async -> ToolEndpoint.Answer {
        await endpoint.answer(
            .init(
                principal: principal, body: ByteBuffer(string: json), session: session, version: nil, takesEvents: events,
                requestID: "r1"))
    }

    mutating func initialize() async throws {
        let answer = await send(
            #"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"9"}}}"#
        )
        guard case .message(.result, let id?) = answer else { throw Unexpected(answer: "\(answer)") }
        session = id.uuidString.lowercased()
    }

    /// The result or the error of a call.
    func call(_ tool: String, _ arguments: String = "{}", id: Int = 1) async throws -> Result<String, MCPError> {
        let answer = await send(Self.call(tool, arguments, id: id))
        switch answer {
        case .message(.result(_, let result), _): return .success(result)
        case .message(.failure(_, let error), _), .refused(_, let error): return .failure(error)
        default: throw Unexpected(answer: "\(answer)")
        }
    }

    static func call(_ tool: String, _ arguments: String = "{}", id: Int = 1, meta: String = "{}") -> String {
        #"{"jsonrpc":"2.0","id":\#(id),"method":"tools/call","params":{"name":"\#(tool)","arguments":\#(arguments),"_meta":\#(meta)}}"#
    }

    struct Unexpected: Error { var answer: String }
}
