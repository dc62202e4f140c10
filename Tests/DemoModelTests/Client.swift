import Core
import DemoModel
import Foundation
import HTTPTransport
import Logging
import ModelAPI
import NIOCore

/// A model client as the loop is one: a conversation out, blocks back, in either protocol.
struct Client: Sendable {
    let transport: HTTPTransport
    let url: String

    struct Answer {
        var status: Int
        var headers: [(name: String, value: String)]
        var body: ByteBuffer
        var reader: AnswerReader
    }

    static func with<R: Sendable>(speed: Double = 0, _ body: @Sendable (Client) async throws -> R) async throws -> R {
        try await DemoModelServer.withServer(speed: speed) { url in
            let transport = HTTPTransport(logger: Logger(label: "test"))
            do {
                let result = try await body(Client(transport: transport, url: url))
                await transport.shutdown()
                return result
            } catch {
                await transport.shutdown()
                throw error
            }
        }
    }

    func request(_ path: String, _ body: ByteBuffer? = nil, headers: [(name: String, value: String)] = [("x-api-key", "test-key")])
        -> HTTPClientRequest
    {
        HTTPClientRequest(
            method: body == nil ? "GET" : "POST", url: url + path, headers: headers + [("content-type", "application/json")],
            body: body,
            allowPrivateAddresses: true)
    }

    /// Sends a conversation and reads the whole answer, through the reader that gateway and loop use.
    func ask(_ conversation: Conversation, _ kind: ModelProtocol = .messages, stream: Bool = true) async throws -> Answer {
        let path = kind == .messages ? "/v1/messages" : "/v1/chat/completions"
        let response = try await transport.send(request(path, conversation.encode(as: kind, stream: stream)))
        let body = try await response.body.collect(upTo: 64 << 20)
        var reader = AnswerReader(kind, streamed: stream && response.status == 200)
        try reader.feed(body)
        reader.finish()
        return Answer(status: response.status, headers: response.headers, body: body, reader: reader)
    }
}

extension Client.Answer {
    var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(buffer: body))) as? [String: Any] ?? [:] }
    func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
}
