import AgentProtocol
import Core
import Foundation
import NIOCore

extension AgentConnection {
    package static let mostInMemory: Int64 = 64 << 20

    /// A part of a file, at most 64 MiB. Relative paths begin at the workspace's home.
    package func readFile(_ path: String, offset: Int64 = 0, limit: Int64 = 16 << 20) async throws -> FileContent {
        guard (0...Self.mostInMemory).contains(limit) else {
            throw AppError(
                .badRequest, "Expected 0 to \(Self.mostInMemory) bytes; read larger files piece by piece.", field: "limit")
        }
        let request = fileRequest(path, offset, limit)
        return try await ask(request) { stream, head in
            FileContent(
                info: try self.info(request, head.first(name: Headers.info)), offset: offset,
                data: Data(try await stream.collect(upTo: Int(limit)).readableBytesView))
        }
    }

    /// A file of any size, piece by piece; the agent is held back while `body` works.
    ///
    /// - Throws: Also when the file got shorter while it was read.
    @discardableResult
    package func readFile(
        _ path: String, offset: Int64 = 0, limit: Int64 = .max, patience: Duration = .seconds(600),
        _ body: (ByteBuffer) async throws -> Void
    ) async throws -> FileInfo {
        let request = fileRequest(path, offset, limit, patience)
        return try await ask(request) { stream, head in
            let info = try self.info(request, head.first(name: Headers.info))
            for try await piece in stream.body { try await body(piece) }
            return info
        }
    }

    /// Replaces a file as a whole, at most once per call id; makes its directories. `sandbox` as in `ProcessStart`.
    ///
    /// - Throws: `.conflict` with field `fence` when a higher fence was seen; `.conflict` without a field when an earlier attempt under
    ///   this id may or may not have taken effect.
    @discardableResult
    package func writeFile(_ path: String, _ data: Data, call: String, fence: Fence, sandbox: String? = nil) async throws
        -> FileWritten
    {
        let pieces = stride(from: 0, to: data.count, by: 1 << 18).map {
            ByteBuffer(bytes: data.dropFirst($0).prefix(1 << 18))
        }
        var attempt = 0
        while true {
            do {
                return try await writeFile(path, contents: AsyncPieces(pieces), call: call, fence: fence, sandbox: sandbox)
            } catch let error as AppError where (error.cause as? AgentFailure)?.code == .busy && attempt < 3 {
                attempt += 1  // its file worker was killed, say; nothing was written
            }
        }
    }

    /// The same for content that comes in pieces. Nothing is written unless all of them came.
    @discardableResult
    package func writeFile<Pieces: AsyncSequence>(
        _ path: String, contents: Pieces, call: String, fence: Fence, sandbox: String? = nil, patience: Duration = .seconds(600)
    ) async throws -> FileWritten where Pieces.Element == ByteBuffer {
        var query = ["path": path, "call": call, "fence": "\(fence.number)", "scope": fence.scope]
        query["sandbox"] = sandbox
        let request = Request(
            method: "PUT", target: RequestTarget(["v1", "files"], query: query), patience: patience, what: "writing '\(path)'")
        return try await ask(request, send: { try await $0.write(contentsOf: contents) }) { stream, _ in
            try WireJSON.decode(FileWritten.self, from: await stream.collect(upTo: 1 << 16))
        }
    }

    /// What is in a folder, by name. Paths are relative to the home; links are named, not followed.
    ///
    /// - Parameters:
    ///   - depth: 1 is the folder alone.
    ///   - limit: more entries than this are left out, and the listing says so.
    /// - Throws: `notFound`, `badRequest` when it is no folder; `unavailable` and `timeout` of the connection.
    package func list(_ path: String = ".", depth: Int = 1, limit: Int = 1000) async throws -> FileListing {
        let target = RequestTarget(["v1", "list"], query: ["path": path, "depth": "\(depth)", "limit": "\(limit)"])
        return try await ask(FileListing.self, Request(method: "GET", target: target, what: "listing '\(path)'"))
    }

    /// Lines that match, in files that are text. It has bounds for hits and for time; the result says when one was reached.
    ///
    /// - Throws: `badRequest` for a pattern that is none.
    package func search(_ query: SearchQuery) async throws -> SearchResult {
        var values = ["pattern": query.pattern, "path": query.path, "limit": "\(query.limit)"]
        values["glob"] = query.glob
        if query.literal { values["literal"] = "true" }
        if query.ignoreCase { values["ignore_case"] = "true" }
        let target = RequestTarget(["v1", "search"], query: values)
        return try await ask(SearchResult.self, Request(method: "GET", target: target, what: "searching '\(query.path)'"))
    }

    private func fileRequest(_ path: String, _ offset: Int64, _ limit: Int64, _ patience: Duration = .seconds(60)) -> Request {
        let target = RequestTarget(["v1", "files"], query: ["path": path, "offset": "\(offset)", "limit": "\(limit)"])
        return Request(method: "GET", target: target, patience: patience, what: "reading '\(path)'")
    }

    private func info(_ request: Request, _ header: String?) throws -> FileInfo {
        do { return try WireJSON.decode(FileInfo.self, from: ByteBuffer(string: header ?? "")) } catch {
            throw unreadable(request, error)
        }
    }
}

/// Pieces that are there already.
struct AsyncPieces: AsyncSequence, Sendable {
    private let pieces: [ByteBuffer]

    init(_ pieces: [ByteBuffer]) { self.pieces = pieces }

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<ByteBuffer>
        mutating func next() async -> ByteBuffer? { rest.popFirst() }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: pieces[...]) }
}
