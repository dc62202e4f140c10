import API
import Core
import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore

/// `/api/v2/mcp`: the server's side of streamable HTTP, as the Model Context Protocol has it.
struct ToolDoor: Sendable {
    let endpoint: ToolEndpoint

    private static let sessionID = HTTPField.Name("Mcp-Session-Id")!
    private static let via = HTTPField.Name(ToolEndpoint.via)!
    private static let traceParent = HTTPField.Name("traceparent")!
    private static let protocolVersion = HTTPField.Name("MCP-Protocol-Version")!

    func register(on table: RouteTable) {
        table.door(.post, APIPaths.mcp, .useTools, refuse: Self.refusal, message)
        table.door(.get, APIPaths.mcp, .useTools, refuse: Self.refusal, listen)
        table.door(.delete, APIPaths.mcp, .useTools, refuse: Self.refusal, end)
    }

    @Sendable func message(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        if incoming.header(Self.via) != nil {
            throw AppError(
                .conflict,
                "A Slipway server is registered here as a server of tools, which may lead back to it: register what is behind it.")
        }
        let accept = incoming.header(.accept)?.lowercased() ?? "*/*"
        let takesAll = accept.contains("*/*")
        let takesEvents = accept.contains("text/event-stream")
        guard takesAll || takesEvents || accept.contains("application/json") else {
            throw AppError(.badRequest, "Accept must name application/json, text/event-stream or both.", field: "accept")
        }
        let disconnect = try incoming.context.disconnect()
        let answer = await endpoint.answer(
            .init(
                principal: call.principal, body: try await incoming.collect(upTo: ToolEndpoint.largestMessage),
                session: incoming.header(Self.sessionID), version: incoming.header(Self.protocolVersion),
                takesEvents: takesEvents, requestID: incoming.requestID, traceParent: incoming.header(Self.traceParent)))
        switch answer {
        case .accepted: return Response(status: .accepted)
        case .message(let message, let session):
            var response = Self.response(.ok, message)
            if let session { response.headers[Self.sessionID] = session.uuidString.lowercased() }
            return response
        case .refused(let status, let error): return Self.response(.init(code: status), .failure(id: nil, error))
        case .events(let messages): return Self.stream(messages, disconnect)
        }
    }

    /// The stream on which a server may speak unasked: there is none, which clients expect to hear in this way.
    @Sendable func listen(_ call: Call) async throws -> Response {
        var response = Self.response(
            .methodNotAllowed,
            .failure(id: nil, MCPError(MCPError.invalidRequest, "This server sends nothing unasked: use POST, or DELETE to end.")))
        response.headers[.allow] = "POST, DELETE"
        return response
    }

    @Sendable func end(_ call: Call) async throws -> Response {
        guard let session = call.incoming.header(Self.sessionID) else {
            throw AppError(.badRequest, "The header Mcp-Session-Id is missing: it names the session to end.")
        }
        guard try await endpoint.end(session, call.principal) else {
            throw AppError(.notFound, "There is no such session, or it is over.")
        }
        return .noContent
    }

    // MARK: Answers

    @Sendable private static func refusal(_ error: AppError, _ incoming: Incoming) -> Response {
        incoming.context.note(error)
        var response = response(error.status, .failure(id: nil, MCPError(anything: error)))
        if error.code == .unauthenticated { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }

    private static func response(_ status: HTTPResponse.Status, _ message: MCPMessage) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: message.text)))
    }

    /// Silence is broken every 15 seconds, so that proxies keep the connection while a tool works.
    private static func stream(_ messages: AsyncStream<String>, _ disconnect: Disconnect) -> Response {
        Response(
            status: .ok,
            headers: [
                .contentType: "text/event-stream", .cacheControl: "no-store", HTTPField.Name("X-Accel-Buffering")!: "no",
            ],
            body: .streamed(until: disconnect) { writer in
                let (texts, text) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(300))
                let lent = Lent(value: writer)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        while (try? await Task.sleep(for: .seconds(15))) != nil { text.yield(": alive\n\n") }
                    }
                    group.addTask {
                        for await message in messages { text.yield("event: message\ndata: \(message)\n\n") }
                        text.finish()
                    }
                    group.addTask {
                        var writer = lent.value
                        for await text in texts { try await writer.write(ByteBuffer(string: text)) }
                    }
                    // The writer and the reader end by themselves, the clock when they have.
                    _ = try await group.next()
                    _ = try await group.next()
                    group.cancelAll()
                }
            })
    }
}
