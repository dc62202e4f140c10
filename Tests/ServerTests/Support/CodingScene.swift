import API
import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport

@testable import Server

/// A server as coding clients meet it, and behind it providers of Anthropic's, OpenAI's and Google's protocols that remember what they were
/// asked, byte for byte.
final class CodingScene: Sendable {
    struct Asked: Sendable {
        var head: String
        var body: String

        var method: String { String(head.prefix { $0 != " " }) }
        var path: String { String(head.split(separator: " ").dropFirst().first ?? "") }
        /// All values of a header, in their order.
        func header(_ name: String) -> [String] {
            head.components(separatedBy: "\r\n").dropFirst().compactMap { line in
                guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name else { return nil }
                return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            }
        }
    }

    /// What the provider sends for a request: all of an HTTP answer.
    typealias Script = @Sendable (Asked) -> ByteBuffer

    let server: ServerProcess
    let pool: PostgresPool
    let token: String
    let auditor: String
    private let asked: NIOLockedValueBox<[Asked]>

    private init(
        _ server: ServerProcess, _ pool: PostgresPool, token: String, auditor: String, _ asked: NIOLockedValueBox<[Asked]>
    ) {
        (self.server, self.pool, self.token, self.auditor, self.asked) = (server, pool, token, auditor, asked)
    }

    static func with(_ script: @escaping Script, _ body: (CodingScene) async throws -> Void) async throws {
        let asked = NIOLockedValueBox<[Asked]>([])
        let provider: RawServer.Script = { connection in
            while let request = try await connection.request() {
                let one = Asked(head: request.head, body: String(buffer: request.body))
                asked.withLockedValue { $0.append(one) }
                try await connection.send(script(one))
            }
        }
        try await TestDatabase.with { database in
            try await RawServer.with(provider) { upstream in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.member])
                let auditor = try await People.token(pool, "otto", roles: [.auditor])
                let url = String(upstream.url.dropLast())
                let server = try await ServerProcess.start(
                    database: database.url,
                    environment: [
                        "ANTHROPIC_API_KEY": "sk-ant-of-the-provider", "ANTHROPIC_BASE_URL": url,
                        "OPENAI_API_KEY": "sk-of-the-provider", "OPENAI_BASE_URL": url + "/v1",
                        "GEMINI_API_KEY": "key-of-the-provider",
                        "GEMINI_BASE_URL": url,
                    ])
                let scene = CodingScene(server, pool, token: token, auditor: auditor, asked)
                do { try await body(scene) } catch {
                    await server.stop()
                    await pool.close()
                    throw error
                }
                await server.stop()
                await pool.close()
            }
        }
    }

    /// The newest request that the provider got.
    var last: Asked { asked.withLockedValue { $0.last } ?? Asked(head: "", body: "") }
    var count: Int { asked.withLockedValue { $0.count } }

    static func path(_ provider: String, _ route: String) -> String { "\(APIPaths.base)/ai-gateway/\(provider)/\(route)" }

    /// A client with these headers besides its token.
    func client(_ headers: [(String, String)] = []) -> Client {
        var client = Client(url: server.url)
        client.headers = [(name: "x-api-key", value: token), (name: "content-type", value: "application/json")]
        client.headers += headers.map { (name: $0.0, value: $0.1) }
        return client
    }

    /// A call as it is on record, once it is booked.
    func recorded(_ answer: Client.Answer) async throws -> Interception {
        guard let id = answer.header("x-slipway-interception-id") else { throw Missing(text: answer.text) }
        let reader = Client(url: server.url, token: auditor)
        var found: Interception?
        try await eventually("the call is booked") {
            let one = try await reader.get(APIPaths.interceptions + "/" + id)
            guard one.status == 200 else { return false }
            found = try one.json(Interception.self)
            // Content is written beside the booking.
            return found?.status != "open" && found?.ledger?.isEmpty == false && found?.content == "complete"
        }
        return found!
    }

    struct Missing: Error, CustomStringConvertible {
        var text: String
        var description: String { "no interception's id; the answer was \(text)" }
    }

    // MARK: What providers answer

    static func json(_ body: String, status: String = "200 OK", headers: [String] = []) -> ByteBuffer {
        let lines = ["HTTP/1.1 \(status)", "Content-Type: application/json", "Content-Length: \(body.utf8.count)"] + headers
        return ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }

    /// - Parameter isWhole: false leaves the connection open behind the last event.
    static func events(_ events: [String], headers: [String] = [], isWhole: Bool = true) -> ByteBuffer {
        let lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked"] + headers
        let chunks = events.map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }.joined()
        return ByteBuffer(string: lines.joined(separator: "\r\n") + "\r\n\r\n" + chunks + (isWhole ? "0\r\n\r\n" : ""))
    }

    /// - Parameter tool: asked for instead of a text.
    static func message(_ text: String = "ok", tool: (id: String, name: String)? = nil, input: Int = 10, output: Int = 5) -> String
    {
        let content =
            tool.map { #"{"type":"tool_use","id":"\#($0.id)","name":"\#($0.name)","input":{}}"# }
            ?? #"{"type":"text","text":"\#(text)"}"#
        return
            #"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[\#(content)],"stop_reason":"\#(tool == nil ? "end_turn" : "tool_use")","stop_sequence":null,"usage":{"input_tokens":\#(input),"output_tokens":\#(output)}}"#
    }
}
