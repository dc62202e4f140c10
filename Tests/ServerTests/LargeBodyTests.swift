import API
import Core
import Crypto
import Foundation
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Server

/// Bodies of 20 MB through the built server, its listener and its transport, byte for byte and with bounded memory.
@Suite(.timeLimit(.minutes(10))) struct LargeBodyTests {
    private static let size = 20 << 20
    /// What one call of 20 MB each way may add to the server's peak: the body, what is written of it to the record, and room for both.
    private static let mostAdded = 300 << 20

    /// Text that does not repeat, with characters of two to four bytes; nothing in it has to be escaped.
    private static func text(_ bytes: Int) -> String {
        var text = ""
        text.reserveCapacity(bytes + 64)
        var number = 0
        while text.utf8.count < bytes {
            text += "line \(number &* 2_654_435_761 % 1_000_003) äß€ 🧵 "
            number += 1
        }
        return text
    }

    /// A conversation as Claude Code sends it, and what no version of Slipway knows.
    private static func request(stream: Bool) -> Data {
        let signature = Data((0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 31) }).base64EncodedString()
        return Data(
            """
            {  "model":"claude-haiku-4-5" ,\r\n\t"max_tokens" : 4000, "stream" :\(stream),
             "field_of_the_future" : {"a":[1 ,2.50e+3, -0, null , {"b" : { } } ]} , "metadata":{"user_id":"user_\\u00e4"},
             "system":[ {"type":"text","text":"be \\"brief\\" \\/ exact","cache_control" : {"type":"ephemeral" , "ttl":"1h"}} ],
             "messages":[{"role":"user","content":"hi"} ,
              {"role":"assistant","content":[{"type":"thinking","thinking":"hm\\u2028","signature":"\(signature)"},
               {"type":"redacted_thinking","data":"\(signature)"},{"type":"text","text":"ok"}]},
              {"role":"user","content":[{"type":"text","text":"\(text(size))","cache_control":{"type":"ephemeral"} , "odd" : 01e1 }]}]   }
            \r\n
            """.replacing("01e1", with: "1e1").utf8)
    }

    private static let plain = Data(
        """
        \r\n { "id" : "msg_1","type":"message" ,"role":"assistant","model":"claude-haiku-4-5", "unheard_of":[ ],
          "content":[{"type":"thinking","thinking":"hm","signature":"\(String(repeating: "c2ln", count: 5000))"},
         {"type":"text" , "text":"\(text(size))"}],"stop_reason":"end_turn",
         "usage":{"input_tokens":10,"output_tokens":5, "future_tokens" : 1}}  \n
        """.utf8)

    private static let stream: [String] = {
        func event(_ type: String, _ rest: String) -> String { "event: \(type)\ndata: {\"type\":\"\(type)\",\(rest)}\n\n" }
        func delta(_ index: Int, _ rest: String) -> String {
            event("content_block_delta", "\"index\":\(index),\"delta\":{\(rest)}")
        }
        var events = [
            event(
                "message_start",
                #""message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"usage":{"input_tokens":10,"output_tokens":1}}"#
            ),
            ": a comment\r\n\r\n", "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            "id: 7\r\nretry: 10\r\nevent: event_of_the_future\r\ndata:   {\"type\" : \"event_of_the_future\" ,\r\ndata: \"x\":[ ]}\r\n\r\n",
            event("content_block_start", #""index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#),
            delta(0, #""type":"thinking_delta","thinking":"hm""#),
            // One event longer than what is kept together.
            delta(0, "\"type\":\"signature_delta\",\"signature\":\"\(String(repeating: "c2ln", count: 300_000))\""),
            event("content_block_stop", #""index":0"#),
            event("content_block_start", #""index":1,"content_block":{"type":"text","text":""}"#),
        ]
        let all = Array(text(4096).unicodeScalars)
        let piece = String(String.UnicodeScalarView(all))
        var sent = 0
        while sent < size {
            events.append(delta(1, " \"type\" : \"text_delta\",\"text\":\"\(sent) \(piece)\""))
            sent += piece.utf8.count
        }
        return events + [
            event("content_block_stop", #""index":1"#),
            event("message_delta", #""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}"#),
            event("message_stop", #""x" : 1"#),
        ]
    }()

    private struct Scene {
        var server: ServerProcess
        var pool: PostgresPool
        var token: String

        func peakMemory() throws -> Int { try #require(ServerProcess.peakKiB(of: server.pid)) << 10 }

        func send(_ body: Data) async throws -> HTTPClientResponse {
            try await Client.transport.send(
                HTTPClientRequest(
                    method: "POST", url: server.url + ScriptedProvider.path,
                    headers: [(name: "x-api-key", value: token), (name: "content-type", value: "application/json")],
                    body: ByteBuffer(bytes: body), timeouts: .init(total: .seconds(300)), allowPrivateAddresses: true))
        }
    }

    private func with(_ script: @escaping RawServer.Script, _ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            try await RawServer.with(script) { upstream in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.member])
                let server = try await ServerProcess.start(
                    database: database.url, environment: ScriptedProvider.environment(upstream))
                do { try await body(Scene(server: server, pool: pool, token: token)) } catch {
                    await server.stop()
                    await pool.close()
                    throw error
                }
                await server.stop()
                await pool.close()
            }
        }
    }

    @Test(arguments: [false, true])
    func `a request and an answer of 20 MB pass byte for byte, and are on record as they were`(isStream: Bool) async throws {
        let asked = NIOLockedValueBox(ByteBuffer())
        let answer = isStream ? Data(Self.stream.joined().utf8) : Self.plain
        try await with { connection in
            while let request = try await connection.request() {
                asked.withLockedValue { $0 = request.body }
                guard isStream else {
                    try await connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(answer.count)\r\n\r\n")
                    try await connection.send(ByteBuffer(bytes: answer))
                    continue
                }
                try await connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                // In pieces that know nothing of events and of characters.
                var rest = answer[...]
                var length = 1
                while !rest.isEmpty {
                    let piece = rest.prefix(length)
                    rest = rest.dropFirst(length)
                    length = min(length * 3 + 1, 70_001)
                    var chunk = ByteBuffer(string: String(piece.count, radix: 16) + "\r\n")
                    chunk.writeBytes(piece)
                    chunk.writeString("\r\n")
                    try await connection.send(chunk)
                }
                try await connection.send("0\r\n\r\n")
            }
        } _: { scene in
            let body = Self.request(stream: isStream)
            #expect(body.count > Self.size && answer.count > Self.size)
            let before = try scene.peakMemory()
            let response = try await scene.send(body)
            #expect(response.status == 200)
            let got = try await response.body.collect(upTo: 64 << 20)
            // Compared outside of the expectation, which would print both.
            let (isSame, wasSame) = (
                Data(got.readableBytesView) == answer, Data(asked.withLockedValue { $0 }.readableBytesView) == body
            )
            #expect(isSame && wasSame, "\(got.readableBytes) of \(answer.count)")
            try await eventually("it is booked with its content") {
                try await scene.pool.query(
                    """
                    SELECT 1 FROM ai_ledger JOIN ai_contents USING (interception_id)
                    WHERE ai_ledger.state = 'final' AND part = 'answer' AND ai_contents.state = 'complete'
                    """
                ).count == 1
            }
            let row = try #require(
                await scene.pool.query(
                    """
                    SELECT i.request_hash, i.request_size, l.answer_hash, l.answer_size, l.input_tokens, l.output_tokens
                    FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id
                    """
                ).first)
            #expect(try row["request_hash"] == Data(SHA256.hash(data: body)) && row["request_size"] == body.count)
            #expect(try row["answer_hash"] == Data(SHA256.hash(data: answer)) && row["answer_size"] == answer.count)
            #expect(try row["input_tokens"] == 10 && row["output_tokens"] == 5)
            let added = try scene.peakMemory() - before
            #expect(added < Self.mostAdded, "\(added >> 20) MB")
        }
    }

    @Test func `a client that does not read stops its provider, and the server does not grow`() async throws {
        let sent = NIOLockedValueBox(0)
        let piece = Self.stream[9]
        let chunk = "\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n"
        try await with { connection in
            while let request = try await connection.request() {
                let isEndless = String(buffer: request.body).contains("endless")
                try await connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + Self.stream[..<2].map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }.joined())
                while isEndless {
                    // Waits while nobody takes it.
                    try await connection.send(chunk)
                    sent.withLockedValue { $0 += piece.utf8.count }
                }
                try await connection.send(
                    Self.stream.suffix(3).map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }.joined() + "0\r\n\r\n")
            }
        } _: { scene in
            let small = ScriptedProvider.body("small", streamed: true)
            _ = try await scene.send(small).body.collect(upTo: 1 << 20)
            let before = try scene.peakMemory()
            let response = try await scene.send(ScriptedProvider.body("endless", streamed: true))
            // What is under way fills the sockets' buffers; then nothing more is sent, however many other calls pass meanwhile.
            var last = -1
            try await eventually("the provider waits") {
                for _ in 0..<20 { _ = try await scene.send(small).body.collect(upTo: 1 << 20) }
                let now = sent.withLockedValue { $0 }
                defer { last = now }
                return now == last && now > 0
            }
            let added = try scene.peakMemory() - before
            #expect(added < 100 << 20, "\(added >> 20) MB for \(last >> 20) MB that were sent")
            response.body.cancel()
            try await eventually("the call that was left is booked") {
                try await scene.pool.query("SELECT 1 FROM ai_interceptions WHERE status = 'client_left'").count == 1
            }
        }
    }
}
