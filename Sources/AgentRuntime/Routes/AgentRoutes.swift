import AgentProtocol
import NIOCore
import NIOHPACK

/// What the agent answers on a serve connection.
struct AgentRoutes: Sendable {
    let files: FileCalls
    let processes: ProcessTable
    let pool: BlockingPool
    let identity: AgentIdentity
    let log: AgentLog

    /// Answers every stream the server opens; returns when the connection ended.
    func serve(_ tunnel: Tunnel) async {
        await withDiscardingTaskGroup { group in
            do {
                for try await stream in tunnel.inbound {
                    // A task of its own so that the stream's end can cancel it: what was journaled goes on by itself.
                    let work = Task { await respond(stream) }
                    stream.channel.closeFuture.whenComplete { _ in work.cancel() }
                    group.addTask { await work.value }
                }
            } catch {}
        }
    }

    private func respond(_ stream: TunnelStream) async {
        do {
            let head = try await stream.receiveHead()
            do {
                try await route(stream, head)
            } catch let failure as AgentFailure {
                try reply(stream, failure.status, json: failure)
            } catch let error as DecodingError {
                try reply(stream, 400, json: AgentFailure(.badRequest, "body: \(Self.words(error))"))
            } catch TunnelError.bodyTooLarge(let limit) {
                try reply(stream, 413, json: AgentFailure(.tooLarge, "body: expected at most \(limit) bytes"))
            } catch is CancellationError {
                return stream.reset()
            } catch {
                log.error("request failed: \(error)")
                try reply(stream, 500, json: AgentFailure(.internal, "The agent failed: \(error)"))
            }
        } catch {
            return stream.reset()
        }
        await stream.waitUntilClosed()
    }

    private func route(_ stream: TunnelStream, _ head: HPACKHeaders) async throws {
        let method = head.first(name: ":method") ?? ""
        guard let target = head.first(name: ":path").flatMap(RequestTarget.init(parsing:)), target.segments.first == "v1" else {
            throw AgentFailure(.notFound, "Paths begin with /v1 and are percent-encoded UTF-8.")
        }
        let query = Query(target.query)
        let path = Array(target.segments.dropFirst())
        switch (method, path.first, path.count) {
        case ("GET", "status", 1): try reply(stream, 200, json: status())
        case ("GET", "files", 1): try await readFile(stream, query)
        case ("PUT", "files", 1):
            let written = try await files.write(
                query.text("path"), call: query.text("call"), fence: query.fence(),
                sandbox: query.has("sandbox") ? query.text("sandbox") : nil,
                contents: stream.body)
            try reply(stream, 200, json: written)
        case ("GET", "list", 1):
            let listing = try await files.list(
                query.text("path", default: "."), depth: Int(query.integer("depth", 1...32, default: 1)),
                limit: Int(query.integer("limit", 1...10_000, default: 1000)))
            reply(stream, 200, body: listing)
        case ("GET", "search", 1): reply(stream, 200, body: try await files.search(query.search()))
        case ("POST", "fence", 1):
            try processes.adopt(try await body(Fence.self, stream))
            try reply(stream, 200, json: status())
        case (_, "processes", _): try await routeProcesses(stream, method, Array(path.dropFirst()), query)
        default: throw AgentFailure(.notFound, "The agent has no \(method) \(target.text.prefix(200)).")
        }
    }

    private func routeProcesses(_ stream: TunnelStream, _ method: String, _ path: [String], _ query: Query) async throws {
        switch (method, path.count) {
        case ("GET", 0): try reply(stream, 200, json: processes.list(limit: Int(query.integer("limit", 1...1000, default: 100))))
        case ("POST", 0):
            let start = try await body(ProcessStart.self, stream)
            let (status, isNew) = try await processes.start(start)
            // Who waits for the end of a short command has it with the first answer.
            if query.has("wait") { return try await output(stream, start.id, query) }
            try reply(stream, isNew ? 201 : 200, json: status)
        case ("GET", 1): try await output(stream, path[0], query)
        case ("POST", 2) where path[1] == "signal":
            try await processes.signal(path[0], body(ProcessSignal.self, stream))
            try reply(stream, 200, json: processes.status(path[0]))
        default: throw AgentFailure(.notFound, "The agent has no such process route for \(method).")
        }
    }

    private func status() -> AgentStatus {
        let counts = processes.counts
        return AgentStatus(
            version: ProtocolVersion.software, sandbox: identity.sandbox, start: identity.start, startedAt: identity.startedAt,
            runningProcesses: counts.running, knownCalls: counts.calls, fences: counts.fences,
            freeDiskBytes: processes.outputs.freeBytes())
    }

    private func readFile(_ stream: TunnelStream, _ query: Query) async throws {
        try await files.read(
            query.text("path"), offset: query.integer("offset", 0...Int64.max, default: 0),
            limit: query.integer("limit", 0...Int64.max, default: .max)
        ) { info, pieces in
            let head: HPACKHeaders = [":status": "200", Headers.info: try WireJSON.header(info)]
            try await stream.send(head)
            do { try await stream.write(contentsOf: pieces, end: false) } catch {
                stream.reset()  // the head is out: a cut stream is the only way left to say no
                throw error
            }
        }
        // Only now, when the worker was given back: the stream's end cancels what is still under way for it.
        try await stream.write(ByteBuffer(), end: true)
    }

    private func output(_ stream: TunnelStream, _ id: String, _ query: Query) async throws {
        let position: OutputPosition =
            try query.has("tail")
            ? .tail(query.integer("tail", 0...Int64.max, default: 0)) : .cursor(query.integer("cursor", 0...Int64.max, default: 0))
        let wait = try query.integer("wait", 0...600_000, default: 0)
        let output = try await processes.output(
            id, from: position, limit: Int(query.integer("limit", 0...Int64(ProcessTable.mostOutput), default: 1 << 16)),
            wait: query.text("until", default: "output") == "exit" ? .exit : .output,
            until: .now() + .milliseconds(wait), pool: pool)
        let head: HPACKHeaders = [
            ":status": "200", Headers.status: try WireJSON.header(output.status), Headers.cursor: "\(output.cursor)",
            Headers.truncated: "\(output.truncatedBefore)",
        ]
        stream.post(head, body: ByteBuffer(bytes: output.data))
    }

    private func body<Value: Decodable>(_ type: Value.Type, _ stream: TunnelStream) async throws -> Value {
        try WireJSON.decode(type, from: try await stream.collect(upTo: 2 << 20))
    }

    private func reply(_ stream: TunnelStream, _ status: Int, json value: some Encodable) throws {
        reply(stream, status, body: try WireJSON.encode(value))
    }

    private func reply(_ stream: TunnelStream, _ status: Int, body: ByteBuffer) {
        stream.post([":status": "\(status)"], body: body)
    }

    private static func words(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, _): "expected the field '\(key.stringValue)'"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)"
        case .dataCorrupted(let context): "not the JSON that was expected: \(context.debugDescription)"
        @unknown default: "not the JSON that was expected"
        }
    }
}
