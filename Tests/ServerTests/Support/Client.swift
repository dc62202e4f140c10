import API
import Foundation
import HTTPTransport
import Logging
import NIOCore
import TestSupport

/// Calls a server and reads its answers.
struct Client: Sendable {
    struct Answer: Sendable {
        var status: Int
        var headers: [(name: String, value: String)]
        var body: Data

        var text: String { String(decoding: body, as: UTF8.self) }
        func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
        func json<Value: Decodable>(_ type: Value.Type) throws -> Value { try APICoding.decoder().decode(type, from: body) }
        var error: ErrorResponse? { try? json(ErrorResponse.self) }
    }

    static let transport = HTTPTransport(logger: .silent)
    var url: String
    var headers: [(name: String, value: String)] = []
    /// The authority of a server with TLS.
    var caFile: String?

    init(_ server: ServerProcess, token: String? = nil) { self.init(url: server.url, token: token) }

    init(url: String, token: String? = nil) {
        self.url = url
        if let token { headers.append(("authorization", "Bearer \(token)")) }
    }

    func with(_ name: String, _ value: String) -> Client {
        var copy = self
        copy.headers.append((name, value))
        return copy
    }

    func get(_ path: String) async throws -> Answer { try await send("GET", path, Data?.none) }
    func post(_ path: String, _ body: some Encodable) async throws -> Answer {
        try await send("POST", path, try APICoding.encoder().encode(body))
    }

    func send(_ method: String, _ path: String, _ body: Data? = nil) async throws -> Answer {
        let answer = try await Self.transport.send(
            HTTPClientRequest(
                method: method, url: url + path, headers: headers, body: body.map { ByteBuffer(bytes: $0) },
                timeouts: .init(total: .seconds(60)), allowPrivateAddresses: true, caFile: caFile))
        let bytes = try await answer.body.collect(upTo: 16 << 20)
        return Answer(status: answer.status, headers: answer.headers, body: Data(bytes.readableBytesView))
    }

    /// Reads a stream until enough of it has come, then leaves.
    func read(_ path: String, until isEnough: (String) -> Bool) async throws {
        let answer = try await Self.transport.send(
            HTTPClientRequest(method: "GET", url: url + path, headers: headers, allowPrivateAddresses: true))
        var text = ""
        for try await chunk in answer.body {
            text += String(buffer: chunk)
            if isEnough(text) { return }
        }
        throw Ended(text: text)
    }

    struct Ended: Error, CustomStringConvertible {
        var text: String
        var description: String { "The stream ended before what was waited for:\n\(text)" }
    }
}
