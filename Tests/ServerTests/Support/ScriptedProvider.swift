import API
import Foundation
import NIOCore
import TestSupport

/// A provider of messages whose every answer is chosen by a word in the prompt.
enum ScriptedProvider {
    static let path = APIPaths.base + "/ai-gateway/anthropic/v1/messages"

    /// What makes a server call it.
    static func environment(_ server: RawServer) -> [String: String] {
        ["ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": String(server.url.dropLast())]
    }

    static func body(_ prompt: String, streamed: Bool = false) -> Data {
        Data(
            """
            {"model":"claude-haiku-4-5","max_tokens":300,"stream":\(streamed),"messages":[{"role":"user","content":"\(prompt)"}]}
            """.utf8)
    }

    private static func event(_ type: String, _ rest: String = "") -> String {
        "event: \(type)\ndata: {\"type\":\"\(type)\"\(rest)}\n\n"
    }

    private static let beginning =
        event(
            "message_start",
            #","message":{"id":"m","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"usage":{"input_tokens":10,"output_tokens":1}}"#
        ) + event("content_block_start", #","index":0,"content_block":{"type":"text","text":""}"#)
        + event("content_block_delta", #","index":0,"delta":{"type":"text_delta","text":"Hel"}"#)

    private static let end =
        event("content_block_delta", #","index":0,"delta":{"type":"text_delta","text":"lo."}"#)
        + event("content_block_stop", #","index":0"#)
        + event("message_delta", #","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}"#)
        + event("message_stop")

    /// A whole streamed answer, as the client must see it.
    static let whole = beginning + end

    private static let plain =
        #"{"id":"m","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}"#

    private static func chunk(_ text: String) -> String { "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n" }

    /// Answers after 20 ms. A prompt with "endless" gets the beginning of a stream and no more, one with "waits" the rest once
    /// `release` fires.
    static func script(_ release: TestSupport.Signal = .init()) -> RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                let body = String(buffer: request.body)
                // The model thinks: meanwhile the hold stands.
                try await Task.sleep(for: .milliseconds(20))
                guard body.contains(#""stream":true"#) else {
                    try await connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(plain.utf8.count)\r\n\r\n\(plain)")
                    continue
                }
                try await connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(beginning))
                if body.contains("endless") { return await connection.untilClosed() }
                if body.contains("waits") { await release.wait() }
                try await connection.send(chunk(end) + "0\r\n\r\n")
            }
        }
    }
}
