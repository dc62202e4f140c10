import Core
import Foundation
import ModelAPI
import NIOCore
import Telemetry

/// Our own endpoint of the Model Context Protocol: the tools of all servers under one address.
package struct ToolEndpoint: Sendable {
    /// The most bytes of a message.
    package static let largestMessage = 4 << 20
    /// A header of requests that come from a gateway.
    package static let via = UpstreamSession.via

    package struct Request: Sendable {
        package var principal: Principal
        package var body: ByteBuffer
        /// `Mcp-Session-Id`; may be absent: then nothing is kept between requests.
        package var session: String?
        /// `MCP-Protocol-Version`.
        package var version: String?
        /// Whether the client takes server-sent events.
        package var takesEvents: Bool
        package var requestID: String
        /// `traceparent`.
        package var traceParent: String?

        package init(
            principal: Principal, body: ByteBuffer, session: String?, version: String?, takesEvents: Bool, requestID: String,
            traceParent: String? = nil
        ) {
            self.principal = principal
            self.body = body
            self.session = session
            self.version = version
            self.takesEvents = takesEvents
            self.requestID = requestID
            self.traceParent = traceParent
        }
    }

    package enum Answer: Sendable {
        /// Nothing to say: 202.
        case accepted
        /// `session`: begun by this request.
        case message(MCPMessage, session: UUID? = nil)
        /// No message of the protocol is to be expected; with this status.
        case refused(status: Int, MCPError)
        /// Messages, each on one line; the last one is the answer.
        case events(AsyncStream<String>)
    }

    private let tools: ToolGateway

    package init(_ gateway: Gateway) { tools = gateway.tools }

    package func answer(_ request: Request) async -> Answer {
        if let version = request.version, !MCP.versions.contains(version) {
            return .refused(
                status: 400,
                MCPError(
                    MCPError.invalidRequest,
                    "The protocol version '\(version.prefix(40))' is not spoken here; \(MCP.versions.joined(separator: " and ")) are."
                ))
        }
        let message: MCPMessage
        do throws(MCPError) { message = try MCPMessage.parse(request.body) } catch { return .refused(status: 400, error) }
        do {
            if case .request(let id, "initialize", let params) = message {
                return try await initialize(id, params, request.principal)
            }
            guard let session = try await session(of: request) else {
                // The status by which clients know that they have to begin anew.
                return .refused(
                    status: 404, MCPError(MCPError.invalidRequest, "There is no such session, or it is over: initialize a new one.")
                )
            }
            switch message {
            case .request(let id, let method, let params):
                let answer = try await self.answer(id, method, params, request, session)
                if session.id == nil, case .message = answer { await session.close() }
                return answer
            case .notification("notifications/cancelled", let params):
                let id = params.flatMap { JSONObjectText($0)?["requestId"] }.flatMap { MCPID(json: $0) }
                if let id { session.cancel(id) }
                return .accepted
            case .notification, .result, .failure: return .accepted
            }
        } catch {
            guard case .request(let id, _, _) = message else { return .refused(status: 400, MCPError(anything: error)) }
            return .message(.failure(id: id, MCPError(anything: error)))
        }
    }

    /// - Returns: false when there is no such session.
    package func end(_ session: String, _ principal: Principal) async throws -> Bool {
        guard let id = UUID(uuidString: session) else { return false }
        return try await tools.sessions.end(id, principal)
    }

    // MARK: Methods

    private func initialize(_ id: MCPID, _ params: String?, _ principal: Principal) async throws -> Answer {
        let fields = params.flatMap { JSONObjectText($0) }
        guard let wanted = fields?.string("protocolVersion") else {
            throw MCPError(MCPError.invalidParams, "initialize needs params with a protocolVersion.")
        }
        let version = MCP.versions.contains(wanted) ? wanted : MCP.newestVersion
        let info = fields?.object("clientInfo")
        let client = [info?.string("name"), info?.string("version")].compactMap { $0 }.joined(separator: " ").storable(upTo: 100)
        let session = try await tools.sessions.create(principal, version: version, client: client)
        let result = """
            {"protocolVersion":"\(version)","capabilities":{"tools":{"listChanged":false}},\
            "serverInfo":{"name":"slipway","title":"Slipway","version":"0.1.0"},\
            "instructions":"The tools of all servers that your admins have registered; each is called <server>__<tool>. Calls are recorded."}
            """
        return .message(.result(id: id, result: result), session: session.id)
    }

    private func session(of request: Request) async throws -> ToolSession? {
        guard let text = request.session else {
            return ToolSession(id: nil, user: request.principal.user, version: MCP.newestVersion, client: "")
        }
        guard let id = UUID(uuidString: text) else { return nil }
        return try await tools.sessions.find(id, request.principal)
    }

    private func answer(_ id: MCPID, _ method: String, _ params: String?, _ request: Request, _ session: ToolSession) async throws
        -> Answer
    {
        let caller = ToolGateway.Caller(
            principal: request.principal, session: session, requestID: request.requestID,
            traceParent: request.traceParent.flatMap { TraceContext(header: $0) })
        switch method {
        case "ping": return .message(.result(id: id, result: "{}"))
        case "tools/list": return .message(.result(id: id, result: try await list(params, caller)))
        case "tools/call": return try await call(id, try MCPToolCall(params: params), caller, takesEvents: request.takesEvents)
        default: throw MCPError(MCPError.methodNotFound, "There is no method '\(method.prefix(80))' here; tools are all there is.")
        }
    }

    private func list(_ params: String?, _ caller: ToolGateway.Caller) async throws -> String {
        let (found, missing) = try await tools.tools(caller)
        let result = try MCPToolPages(found).result(params: params)
        if missing.isEmpty { return result }
        // A tool that is not there should not be a riddle.
        var fields = JSONObjectText(result) ?? JSONObjectText()
        var meta = JSONObjectText()
        var reasons = JSONObjectText()
        for (server, reason) in missing.sorted(by: { $0.key < $1.key }) { reasons[server] = JSONText.quoted(reason) }
        meta["slipway/missing"] = reasons.text
        fields["_meta"] = meta.text
        return fields.text
    }

    /// The call runs in a task of its own: it goes on and is recorded when the client's connection breaks.
    private func call(_ id: MCPID, _ call: MCPToolCall, _ caller: ToolGateway.Caller, takesEvents: Bool) async throws -> Answer {
        // A client that reads slowly loses the oldest news of progress, and never the answer.
        let (messages, message) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(256))
        let (tools, session) = (tools, caller.session)
        try session.begin(id) {
            try tools.run(caller.principal.user) {
                do {
                    let result = try await tools.call(call, caller) { params in
                        guard takesEvents, let token = call.progressToken, var fields = JSONObjectText(params) else { return }
                        fields["progressToken"] = token
                        message.yield(MCPMessage.notification(method: "notifications/progress", params: fields.text).text)
                    }
                    message.yield(MCPMessage.result(id: id, result: result).text)
                } catch is CancellationError {
                    // Who withdrew a call waits for no answer.
                } catch {
                    message.yield(MCPMessage.failure(id: id, MCPError(anything: error)).text)
                }
                message.finish()
                session.ended(id)
                if session.id == nil { await session.close() }
            }
        }
        if takesEvents { return .events(messages) }
        for await text in messages { return .message(try MCPMessage.parse(text)) }
        throw MCPError(MCPError.internalError, "The call was cancelled.", data: "{\"code\":\"cancelled\"}")
    }
}
