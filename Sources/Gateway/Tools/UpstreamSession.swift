import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore

/// A client's session with one server of tools. It is opened by its first request, and again when the server has forgotten it.
final class UpstreamSession: Sendable {
    /// How long the parts of a conversation that no tool works on may take.
    static let patience = Duration.seconds(15)
    /// The most bytes of one answer, progress included.
    static let largestAnswer = 8 << 20
    private static let listAge = Duration.seconds(60)

    /// By which our own endpoint sees that it would be called by itself.
    static let via = "x-slipway-via"

    private struct State {
        var access: ToolServerStore.Access
        var sessionID: String?
        var version = MCP.newestVersion
        var opening: Task<Void, any Error>?
        var lastID = 0
        var tools: (list: [MCPTool], at: ContinuousClock.Instant)?
    }

    private let transport: HTTPTransport
    private let state: NIOLockedValueBox<State>
    var access: ToolServerStore.Access { state.withLockedValue { $0.access } }

    init(_ access: ToolServerStore.Access, transport: HTTPTransport) {
        state = NIOLockedValueBox(State(access: access))
        self.transport = transport
    }

    /// The same server and user, with a newer token perhaps.
    func renew(_ access: ToolServerStore.Access) { state.withLockedValue { $0.access = access } }

    // MARK: What it is used for

    /// All tools of the server, whatever rules say; at most a minute old. All its pages together have the time of one request.
    func tools() async throws -> [MCPTool] {
        if let known = state.withLockedValue({ $0.tools }), known.at.duration(to: .now) < Self.listAge { return known.list }
        try await open()
        let list = try await ToolListing.read(within: min(access.server.timeout, Self.patience), of: access.server.name) {
            params, left in
            try await self.request("tools/list", params, within: left)
        }
        state.withLockedValue { $0.tools = (list, .now) }
        return list
    }

    /// The result of a tool, as JSON.
    ///
    /// - Parameter progress: takes the params of each progress notification, with our token in them.
    func call(
        _ call: MCPToolCall, tool: String, progress: @escaping @Sendable (String) async -> Void
    ) async throws -> String {
        let token = call.progressToken == nil ? nil : "\"slipway-\(UUID().uuidString.lowercased())\""
        return try await request(
            "tools/call", call.params(tool: tool, progressToken: token), within: access.server.timeout, token: token,
            progress: progress)
    }

    /// Tells the server that nobody comes back. Bounded.
    func close() async {
        let id = state.withLockedValue { state in
            defer { state.sessionID = nil }
            return state.sessionID
        }
        guard let id else { return }
        var request = request(nil, within: .seconds(3))
        request.method = "DELETE"
        request.headers.append(("mcp-session-id", id))
        // A server that does not want to know says so with 405; neither answer changes anything.
        _ = try? await transport.send(request).body.collect(upTo: 64 << 10)
    }

    // MARK: Requests

    private func request(
        _ method: String, _ params: String, within limit: Duration, token: String? = nil,
        progress: @escaping @Sendable (String) async -> Void = { _ in }
    ) async throws -> String {
        for attempt in 1...2 {
            try await open()
            do {
                return try await exchange(method, params, within: limit, token: token, progress: progress)
            } catch is SessionLost where attempt == 1 {
                // It was not worked on, as the server does not know the session (specification, "Session Management").
                state.withLockedValue { state in
                    state.sessionID = nil
                    state.opening = nil
                    state.tools = nil
                }
            }
        }
        throw failure("forgets its sessions as soon as they are opened")
    }

    private struct SessionLost: Error {}

    /// Returns when there is a session.
    private func open() async throws {
        let opening = state.withLockedValue { state in
            if let opening = state.opening { return opening }
            // Awaited right below, by everybody who needs the session.
            let opening = Task { try await self.initialize() }
            state.opening = opening
            return opening
        }
        do {
            try await opening.value
        } catch {
            state.withLockedValue { if $0.opening == opening { $0.opening = nil } }
            throw error is SessionLost ? failure("does not open a session") : error
        }
    }

    private func initialize() async throws {
        let limit = min(access.server.timeout, Self.patience)
        let params = """
            {"protocolVersion":"\(MCP.newestVersion)","capabilities":{},"clientInfo":{"name":"slipway","version":"0.1.0"}}
            """
        let result = try await exchange("initialize", params, within: limit)
        guard let version = JSONObjectText(result)?.string("protocolVersion"), MCP.versions.contains(version) else {
            throw failure("speaks another version of the protocol than \(MCP.versions.joined(separator: " or "))")
        }
        state.withLockedValue { $0.version = version }
        try await tell(.notification(method: "notifications/initialized", params: nil))
    }

    private func exchange(
        _ method: String, _ params: String, within limit: Duration, token: String? = nil,
        progress: @escaping @Sendable (String) async -> Void = { _ in }
    ) async throws -> String {
        let number = state.withLockedValue { state in
            state.lastID += 1
            return state.lastID
        }
        var exchange = MCPExchange(id: MCPID(number), progressToken: token)
        let end = ContinuousClock.now + limit
        do {
            var request = request(.request(id: exchange.id, method: method, params: params), within: limit)
            // A tool is not to be called twice because a kept connection was closed; the rest may be asked again.
            request.freshConnection = method == "tools/call"
            request.mayBeSentAgain = method != "tools/call"
            let response = try await transport.send(request)
            try check(response, opens: method == "initialize")
            return try await read(response, &exchange, until: end, progress)
        } catch let error as AppError where error.code == .timeout {
            withdraw(exchange.id, "timed out")
            throw late(limit, error)
        } catch let error as CancellationError {
            withdraw(exchange.id, "cancelled")
            throw error
        }
    }

    private func check(_ response: HTTPClientResponse, opens: Bool) throws {
        switch response.status {
        case 200: break
        case 404 where !opens && state.withLockedValue({ $0.sessionID != nil }): throw SessionLost()
        case 401, 403:
            throw AppError(
                .upstream,
                access.server.auth != .none
                    ? "The MCP server '\(access.server.name)' does not accept your log-in (status \(response.status)): sign in again with 'slipway mcp login \(access.server.name)'."
                    : "The MCP server '\(access.server.name)' refuses Slipway's headers (status \(response.status)): an admin has to set others.",
                source: .upstream)
        case 300..<400:
            throw failure(
                "answers with a redirect (status \(response.status)), which is not followed: register the URL it leads to")
        default: throw failure("answers with status \(response.status)")
        }
        if opens, let id = response.header("mcp-session-id") {
            guard (1...512).contains(id.utf8.count), id.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw failure("gives its session an id that is none")
            }
            state.withLockedValue { $0.sessionID = id }
        }
    }

    private func read(
        _ response: HTTPClientResponse, _ exchange: inout MCPExchange, until end: ContinuousClock.Instant,
        _ progress: @Sendable (String) async -> Void
    ) async throws -> String {
        let type = (response.header("content-type") ?? "").prefix { $0 != ";" }.lowercased().trimmingCharacters(in: .whitespaces)
        if type == "application/json" {
            let body = try await response.body.collect(upTo: Self.largestAnswer)
            if let result = try await handle(String(buffer: body), &exchange, until: end, progress) { return result }
            throw failure("answers another request than it was asked")
        }
        guard type == "text/event-stream" else {
            throw failure("answers with '\(type.prefix(60))', which is neither JSON nor events")
        }
        var parser = SSEParser(limit: Self.largestAnswer)
        var bytes = 0
        for try await piece in response.body {
            bytes += piece.readableBytes
            guard bytes <= Self.largestAnswer else {
                throw AppError(
                    .tooLarge, "The MCP server '\(access.server.name)' sends more than \(Self.largestAnswer) bytes for one answer.",
                    source: .upstream)
            }
            for event in try parser.feed(piece) where event.name == nil || event.name == "message" {
                if event.data.isEmpty { continue }
                if let result = try await handle(event.data, &exchange, until: end, progress) { return result }
            }
        }
        throw failure("ended its answer before the result")
    }

    /// The result of the request, once it is there.
    private func handle(
        _ text: String, _ exchange: inout MCPExchange, until end: ContinuousClock.Instant,
        _ progress: @Sendable (String) async -> Void
    ) async throws -> String? {
        let message: MCPMessage
        do throws(MCPError) { message = try MCPMessage.parse(text) } catch {
            throw failure("sends what is no message of the protocol (\(error.message))")
        }
        for action in exchange.handle(message) {
            switch action {
            case .finished(.success(let result)): return result
            case .finished(.failure(let error)): throw error
            case .progress(let params): await progress(params)
            case .reply(let message): try await tell(message, within: ContinuousClock.now.duration(to: end))
            case .toolsChanged: state.withLockedValue { $0.tools = nil }
            }
        }
        return nil
    }

    // MARK: Messages without an answer

    private func tell(_ message: MCPMessage, within limit: Duration = patience) async throws {
        var request = request(message, within: min(max(limit, .milliseconds(1)), Self.patience))
        request.mayBeSentAgain = true
        let response = try await transport.send(request)
        _ = try await response.body.collect(upTo: 64 << 10)
        guard (200..<300).contains(response.status) else { throw failure("answers a notification with status \(response.status)") }
    }

    private func withdraw(_ id: MCPID, _ reason: String) {
        let params = "{\"requestId\":\(id.json),\"reason\":\"\(reason)\"}"
        // Nobody waits for it: it is bounded by the time it may take, and has no effect but on the server.
        Task { try? await tell(.notification(method: "notifications/cancelled", params: params)) }
    }

    private func request(_ message: MCPMessage?, within limit: Duration) -> HTTPClientRequest {
        let (id, version) = state.withLockedValue { ($0.sessionID, $0.version) }
        var headers: [(name: String, value: String)] = [
            ("accept", "application/json, text/event-stream"), ("user-agent", "slipway/0.1.0"), ("mcp-protocol-version", version),
            (Self.via, "mcp"),
        ]
        if message != nil { headers.append(("content-type", "application/json")) }
        if message != nil, let id { headers.append(("mcp-session-id", id)) }
        headers += access.headers.map { ($0.name, $0.value) }
        return HTTPClientRequest(
            method: "POST", url: access.server.url, headers: headers, body: message.map { ByteBuffer(string: $0.text) },
            timeouts: .init(connect: min(limit, .seconds(10)), firstByte: limit, idle: limit, total: limit),
            allowPrivateAddresses: access.server.allowsPrivateAddresses)
    }

    private func late(_ limit: Duration, _ cause: any Error) -> AppError {
        let seconds = max(1, Int((limit / .seconds(1)).rounded(.up)))
        return AppError(
            .timeout, "The MCP server '\(access.server.name)' did not answer within \(seconds) seconds.", source: .upstream,
            cause: cause)
    }

    private func failure(_ what: String) -> AppError {
        AppError(.upstream, "The MCP server '\(access.server.name)' \(what).", source: .upstream)
    }
}
