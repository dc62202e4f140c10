import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import TestSupport

/// An answer that is being read while something else happens.
struct OpenStream: Sendable {
    let status: Int
    let interception: String?
    private let rest: Task<String, Never>

    /// Returns when the first bytes have come.
    static func open(_ client: Client, _ method: String, _ path: String, _ body: [UInt8]? = nil) async throws -> OpenStream {
        let answer = try await Client.transport.send(
            HTTPClientRequest(
                method: method, url: client.url + path, headers: client.headers, body: body.map { ByteBuffer(bytes: $0) },
                allowPrivateAddresses: true))
        let first = Signal()
        // Awaited by `text`.
        let rest = Task {
            var text = ""
            do {
                for try await chunk in answer.body {
                    text += String(buffer: chunk)
                    first.fire()
                }
            } catch { text += "(cut: \(error))" }
            first.fire()
            return text
        }
        await first.wait()
        return OpenStream(
            status: answer.status, interception: answer.header("x-slipway-interception-id"), rest: rest)
    }

    static func call(_ client: Client, _ prompt: String) async throws -> OpenStream {
        try await open(client, "POST", ScriptedProvider.path, Array(ScriptedProvider.body(prompt, streamed: true)))
    }

    /// All of it, once it has ended.
    var text: String { get async { await rest.value } }
}
