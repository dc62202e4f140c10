import API
import Core
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import Server

/// Requests to the gateway that are wrong, too much, or lie about themselves. None of them may reach a provider.
@Suite(.timeLimit(.minutes(5))) struct GatewayInputTests {
    private struct Door: Sendable {
        var provider: String
        var route: String
        var good: String
        /// What a refusal looks like in the protocol.
        var shape: String
    }

    private static let doors: [Door] = [
        Door(
            provider: "anthropic", route: "v1/messages",
            good: #"{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            shape: #"{"type":"error","error":{"type":"invalid_request_error","message":""#),
        Door(
            provider: "openai", route: "v1/chat/completions",
            good: #"{"model":"gpt-5","max_completion_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
            shape: #"{"error":{"message":""#),
        Door(
            provider: "openai", route: "v1/responses", good: #"{"model":"gpt-5","max_output_tokens":9,"input":"hi"}"#,
            shape: #"{"error":{"message":""#),
        Door(
            provider: "gemini", route: "v1beta/models/gemini-2.5-flash:generateContent",
            good: #"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":9}}"#,
            shape: #"{"error":{"code":400,"message":""#),
    ]

    /// Bodies that are no request in any protocol.
    private static func malformed(_ good: String) -> [(name: String, body: [UInt8])] {
        let middle = good.index(good.startIndex, offsetBy: good.count / 2)
        return [
            ("nothing", []), ("white space", Array("  \r\n\t ".utf8)), ("half", Array(good[..<middle].utf8)),
            ("something behind", Array((good + "{}").utf8)), ("an array", Array("[\(good)]".utf8)),
            ("a text", Array("\"hi\"".utf8)),
            ("null", Array("null".utf8)), ("NUL in front", [0] + Array(good.utf8)),
            ("a byte-order mark", [0xEF, 0xBB, 0xBF] + Array(good.utf8)),
            ("UTF-16", Array(good.utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] })),
            ("single quotes", Array(good.replacing("\"", with: "'").utf8)), ("a comment", Array(("// hi\n" + good).utf8)),
            ("a comma too many", Array((good.dropLast() + ",}").utf8)),
            ("a form", Array("model=x&messages=y".utf8)), ("deep arrays", Array(String(repeating: "[", count: 100_000).utf8)),
            (
                "deep objects in a field that nobody reads",
                Array((good.dropLast() + ",\"x\":" + String(repeating: "{\"a\":", count: 50_000)).utf8)
            ),
            ("a number without end", Array((good.dropLast() + ",\"x\":1" + String(repeating: "0", count: 100) + "e").utf8)),
            ("zeros", [UInt8](repeating: 0, count: 1 << 20)),
        ]
    }

    @Test func `malformed bodies are refused in the words of each protocol, and reach no provider`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json("{}")
        } _: { scene in
            for door in Self.doors {
                for (name, body) in Self.malformed(door.good) {
                    let answer = try await scene.client().send(
                        "POST", CodingScene.path(door.provider, door.route), Data(body))
                    #expect(answer.status == 400, "\(door.route), \(name): \(answer.status) \(answer.text)")
                    #expect(answer.text.hasPrefix(door.shape), "\(door.route), \(name): \(answer.text)")
                }
            }
            #expect(scene.count == 0)
            #expect(try await scene.pool.query("SELECT 1 FROM ai_interceptions").isEmpty)
        }
    }

    private static let wrongTypes: [(door: Int, field: String, body: String)] = [
        (0, "model", #"{"model":null,"max_tokens":9,"messages":[]}"#),
        (0, "model", #"{"model":["a"],"max_tokens":9,"messages":[]}"#),
        (0, "model", #"{"max_tokens":9,"messages":[]}"#), (0, "max_tokens", #"{"model":"m","max_tokens":"9","messages":[]}"#),
        (0, "max_tokens", #"{"model":"m","max_tokens":-1,"messages":[]}"#),
        (0, "max_tokens", #"{"model":"m","max_tokens":1e300,"messages":[]}"#),
        (0, "stream", #"{"model":"m","stream":"yes","max_tokens":9,"messages":[]}"#),
        (0, "messages", #"{"model":"m","max_tokens":9,"messages":{"role":"user"}}"#),
        (0, "messages[1]", #"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"},"b"]}"#),
        (0, "Model", #"{"Model":"m","model":"m","max_tokens":9,"messages":[]}"#),
        (0, "max_tokens", #"{"model":"m","max_tokens":1,"max_tokens":100000,"messages":[]}"#),
        (1, "n", #"{"model":"m","n":1.5,"messages":[]}"#), (1, "messages", #"{"model":"m","messages":"hi"}"#),
        (1, "stream_options.include_usage", #"{"model":"m","stream_options":{"include_usage":1},"messages":[]}"#),
        (2, "input", #"{"model":"m","input":7}"#), (2, "input[0]", #"{"model":"m","input":["hi"]}"#),
        (2, "background", #"{"model":"m","background":"later","input":"hi"}"#),
        (3, "maxOutputTokens", #"{"contents":[],"generationConfig":{"maxOutputTokens":"many"}}"#),
        (3, "contents", #"{"contents":[],"contents":[]}"#),
    ]

    @Test func `a field of the wrong type is named with what is expected`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json("{}")
        } _: { scene in
            for (index, field, body) in Self.wrongTypes {
                let door = Self.doors[index]
                let answer = try await scene.client().send("POST", CodingScene.path(door.provider, door.route), Data(body.utf8))
                #expect(answer.status == 400 && answer.text.contains(field), "\(body): \(answer.status) \(answer.text)")
            }
            #expect(scene.count == 0)
        }
    }

    @Test func `compressed bodies are not unpacked, whoever sends them`() async throws {
        let folder = try ServerProcess.temporaryDirectory()
        try Shell.check("head -c 200000000 /dev/zero | gzip -9 > bomb", in: folder)
        let bomb = try Data(contentsOf: URL(fileURLWithPath: folder + "/bomb"))
        try FileManager.default.removeItem(atPath: folder)
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: \(bomb.count)\r\n\r\n"
        try await CodingScene.with { _ in
            ByteBuffer(bytes: Data(head.utf8) + bomb)
        } _: { scene in
            for door in Self.doors {
                let answer = try await scene.client([("content-encoding", "gzip")])
                    .send("POST", CodingScene.path(door.provider, door.route), bomb)
                #expect(answer.status == 400 && answer.text.contains("content-encoding: gzip"), "\(answer.text)")
            }
            #expect(scene.count == 0)
            let before = try #require(ServerProcess.peakKiB(of: scene.server.pid))
            let door = Self.doors[0]
            for _ in 0..<3 {
                let answer = try await scene.client().send(
                    "POST", CodingScene.path(door.provider, door.route), Data(door.good.utf8))
                // The client gets what the provider sent, and what it means is between the two.
                #expect(answer.status == 200 && answer.body == bomb && answer.header("content-encoding") == "gzip")
                #expect(try await scene.recorded(answer).ledger?.map(\.state) == ["estimated"])
            }
            let after = try #require(ServerProcess.peakKiB(of: scene.server.pid))
            #expect(after - before < 100_000, "\(before) KiB, then \(after)")
        }
    }

    @Test func `lying lengths, floods of headers and bodies too large are cut off, and others are served on`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            let door = Self.doors[0]
            let path = CodingScene.path(door.provider, door.route)
            func request(_ headers: String, _ body: String) -> Data {
                Data("POST \(path) HTTP/1.1\r\nHost: x\r\nX-Api-Key: \(scene.token)\r\n\(headers)\r\n\(body)".utf8)
            }
            let length = door.good.utf8.count
            let cases: [(name: String, bytes: Data)] = [
                ("a length shorter than the body", request("Content-Length: \(length - 3)\r\n", door.good)),
                ("two lengths", request("Content-Length: \(length)\r\nContent-Length: \(length + 1)\r\n", door.good)),
                ("a negative length", request("Content-Length: -1\r\n", door.good)),
                ("a length of many digits", request("Content-Length: 99999999999999999999999\r\n", door.good)),
                (
                    "length and chunks",
                    request("Content-Length: \(length)\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + door.good)
                ),
                ("chunks that are none", request("Transfer-Encoding: chunked\r\n", "zz\r\n\(door.good)")),
                ("a chunk of many digits", request("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFFFFF\r\n\(door.good)")),
                (
                    "ten thousand headers",
                    request(String(repeating: "X-A: b\r\n", count: 10_000) + "Content-Length: \(length)\r\n", door.good)
                ),
                (
                    "a huge header",
                    request("X-Big: \(String(repeating: "x", count: 300_000))\r\nContent-Length: \(length)\r\n", door.good)
                ),
                ("a body too large", request("Content-Length: \(GatewayDoor.maxBodyBytes + 1)\r\n", "{")),
                (
                    "chunks without end",
                    request(
                        "Transfer-Encoding: chunked\r\n",
                        String(repeating: "10000\r\n\(String(repeating: " ", count: 65536))\r\n", count: 520))
                ),
            ]
            for (name, bytes) in cases {
                let status = RawRequest.status(of: try RawRequest.exchange(scene.server.url, bytes))
                #expect(status.map { (400..<500).contains($0) } ?? true, "\(name): \(String(describing: status))")
                #expect(scene.count == 0, "\(name) reached the provider")
            }
            // Longer than what comes: nobody calls a model with half a body, and whoever waits for the rest is waited for.
            let waiting = try (0..<50).map { _ in
                let socket = try RawSocket(scene.server.url, patience: 30)
                socket.send(request("Content-Length: \(length + 20)\r\n", door.good))
                return socket
            }
            let answer = try await scene.client().send("POST", path, Data(door.good.utf8))
            #expect(answer.status == 200 && scene.count == 1)
            for socket in waiting { socket.halfClose() }
            for socket in waiting {
                let said = String(decoding: socket.receive() ?? Data(), as: UTF8.self)
                #expect(!said.contains(" 200 "), "\(said)")
            }
            #expect(scene.count == 1)
        }
    }

    @Test func `senders that take their time hold up nobody, and are answered when they are done`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            let door = Self.doors[0]
            let path = CodingScene.path(door.provider, door.route)
            let request = Data(
                "POST \(path) HTTP/1.1\r\nHost: x\r\nX-Api-Key: \(scene.token)\r\nContent-Length: \(door.good.utf8.count)\r\n\r\n\(door.good)"
                    .utf8)
            let slow = try (0..<200).map { number in
                let socket = try RawSocket(scene.server.url, patience: 30)
                // Some have not even said what they want.
                socket.send(request.prefix(number.isMultiple(of: 2) ? 20 : request.count - 10))
                return socket
            }
            for _ in 0..<20 { #expect(try await scene.client().send("POST", path, Data(door.good.utf8)).status == 200) }
            #expect(scene.count == 20)
            for (number, socket) in slow.enumerated() {
                for byte in request.dropFirst(number.isMultiple(of: 2) ? 20 : request.count - 10) { socket.send(Data([byte])) }
                let said = String(decoding: socket.receive() ?? Data(), as: UTF8.self)
                #expect(said.hasPrefix("HTTP/1.1 200"), "\(number): \(said)")
            }
            #expect(scene.count == 220)
        }
    }
}
