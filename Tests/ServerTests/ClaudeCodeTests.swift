import API
import Core
import Foundation
import HTTPTransport
import NIOCore
import TestSupport
import Testing

@testable import Server

/// What Claude Code wants of a gateway, line by line; docs/compatibility.md has the list.
@Suite struct ClaudeCodeTests {
    private static let messages = CodingScene.path("anthropic", "v1/messages?beta=true")

    private static let headers = [
        ("User-Agent", "claude-cli/2.1.0 (external, cli)"), ("X-Claude-Code-Session-Id", "5e55-1"), ("x-app", "cli"),
        ("anthropic-version", "2023-06-01"), ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
        ("anthropic-beta", "context-1m-2025-08-07"), ("anthropic-workspace-id", "wrkspc_1"),
        ("anthropic-some-future-header", "one,  two"), ("x-stainless-lang", "js"),
    ]

    /// As long as a bare prompt really is, with everything that a gateway could spoil.
    private static func body(stream: Bool, system: String = "You are Claude Code.") -> String {
        let tools = (0..<40).map {
            #"{"name":"tool_\#($0)","description":"\#(String(repeating: "words ", count: 180))","defer_loading":true,"input_schema":{"type":"object","properties":{}}}"#
        }
        return """
            {"model":"claude-haiku-4-5","max_tokens":1000,  "stream":\(stream),"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1"},\
            {"type":"text","text":"\(system)","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[\(tools.joined(separator: ","))],\
            "messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]},\
            {"role":"assistant","content":[{"type":"thinking","thinking":"h\\u006dm","signature":"c2ln+/="},{"type":"text","text":"?"}]},\
            {"role":"system","content":"a reminder"},{"role":"user","content":"go"}],\
            "context_management":{"edits":[]},"output_config":{"effort":"high"},"some_future_field":{"a" : [1.0,2e3 , null]},\
            "metadata":{"user_id":"{\\"session_id\\":\\"other\\"}"}}
            """
    }

    @Test
    func `a call reaches the provider as it was sent: headers and fields as open lists, system, caches and thoughts as they are`()
        async throws
    {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            let body = Self.body(stream: false)
            #expect(body.utf8.count > 40_000)
            let answer = try await scene.client(Self.headers).send("POST", Self.messages, Data(body.utf8))
            #expect(answer.status == 200 && answer.text == CodingScene.message())
            let asked = scene.last
            #expect(asked.body == body)
            #expect(asked.path == "/v1/messages?beta=true")
            for name in Set(Self.headers.map(\.0)) {
                let sent = Self.headers.filter { $0.0 == name }.map(\.1)
                // Two headers of one name may come as one: that is the same list.
                #expect(
                    asked.header(name.lowercased()).joined(separator: ", ").filter { $0 != " " }
                        == sent.joined(separator: ",").filter { $0 != " " }, "\(name)")
            }
            #expect(asked.header("x-api-key") == ["sk-ant-of-the-provider"])
            #expect(!asked.head.contains(scene.token) && !asked.body.contains(scene.token))
            let call = try await scene.recorded(answer)
            #expect(call.client == "Claude Code" && call.status == "completed")
            #expect(call.sessionID == "5e55-1")
            #expect(call.prompt == "go")
        }
    }

    /// Claude Code reads the words of these to mend the conversation, so each must come as the provider wrote it.
    private static let errors: [(status: String, body: String, headers: [String])] = [
        ("400 Bad Request", #"messages.1.content.0: Invalid `signature` in `thinking` block"#, []),
        ("400 Bad Request", #"This thinking block is bound to a different conversation"#, []),
        ("400 Bad Request", #"tools.0: Input tag 'future_tool' found using 'type' does not match any of the expected tags"#, []),
        ("400 Bad Request", #"prompt is too long: 210000 tokens > 200000 maximum"#, ["x-should-retry: false"]),
        (
            "429 Too Many Requests", "This request would exceed your account's rate limit",
            [
                "retry-after: 17", "x-should-retry: true", "anthropic-ratelimit-unified-status: rejected",
                "anthropic-ratelimit-unified-reset: 1700000000", "anthropic-ratelimit-requests-remaining: 0",
            ]
        ),
        ("529 Overloaded", "Overloaded", ["x-should-retry: true", "retry-after: 3"]),
    ].map { ($0.0, #"{"type":"error",  "error":{"type":"some_error","message":"\#($0.1)"},"request_id":"req_up"}"#, $0.2) }

    @Test func `errors come as the provider wrote them, with what it says about trying again`() async throws {
        try await CodingScene.with { asked in
            let error = Self.errors[Int(asked.header("x-scene").first ?? "") ?? 0]
            return CodingScene.json(error.body, status: error.status, headers: error.headers)
        } _: { scene in
            for (index, error) in Self.errors.enumerated() {
                for stream in [false, true] {
                    let answer = try await scene.client(Self.headers + [("x-scene", "\(index)")])
                        .send("POST", Self.messages, Data(Self.body(stream: stream).utf8))
                    #expect(answer.status == Int(error.status.prefix(3)) && answer.text == error.body, "\(answer.text)")
                    for header in error.headers {
                        let parts = header.components(separatedBy: ": ")
                        #expect(answer.header(parts[0]) == parts[1], "\(header)")
                    }
                    #expect(answer.header("content-type") == "application/json")
                    #expect(try await scene.recorded(answer).costNanoDollars == 0)
                }
            }
        }
    }

    @Test
    func `a stream comes as a stream of events with the provider's own headers, and a call after a broken one is made without`()
        async throws
    {
        let start =
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5\",\"content\":[],\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
        let overloaded =
            "event: error\ndata: {\"type\":\"error\", \"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
        try await CodingScene.with { asked in
            asked.body.contains(#""stream":true"#)
                ? CodingScene.events(
                    [start, overloaded], headers: ["anthropic-ratelimit-unified-status: allowed", "request-id: req_up"])
                : CodingScene.json(CodingScene.message("whole"))
        } _: { scene in
            let client = scene.client(Self.headers)
            let broken = try await client.send("POST", Self.messages, Data(Self.body(stream: true).utf8))
            #expect(broken.status == 200 && broken.text == start + overloaded)
            #expect(broken.header("content-type") == "text/event-stream; charset=utf-8")
            #expect(broken.header("anthropic-ratelimit-unified-status") == "allowed" && broken.header("request-id") == "req_up")
            let again = try await client.send("POST", Self.messages, Data(Self.body(stream: false).utf8))
            #expect(again.text == CodingScene.message("whole"))
            let calls = [try await scene.recorded(broken), try await scene.recorded(again)]
            #expect(calls.map(\.status) == ["failed", "completed"])
            #expect(calls[0].error?.contains("overloaded_error") == true)
        }
    }

    @Test func `hello, models and token counts are there, at once and without a redirect`() async throws {
        try await CodingScene.with { asked in
            switch asked.path {
            case "/v1/models?limit=1000": CodingScene.json(#"{"data":[{"type":"model","id":"claude-haiku-4-5"}],"has_more":false}"#)
            case "/v1/messages/count_tokens?beta=true": CodingScene.json(#"{"input_tokens":4711}"#)
            case "/v1/responses/input_tokens": CodingScene.json(#"{"object":"response.input_tokens","input_tokens":4712}"#)
            case "/v1beta/models/gemini-2.5-flash:countTokens": CodingScene.json(#"{"totalTokens":4713}"#)
            default:
                CodingScene.json(
                    #"{"error":"moved"}"#, status: "307 Temporary Redirect", headers: ["Location: http://127.0.0.1:1/"])
            }
        } _: { scene in
            let client = scene.client(Self.headers)
            let hello = try await client.send("HEAD", CodingScene.path("anthropic", "api/hello"))
            #expect(hello.status == 200 && scene.count == 0)
            for provider in ["anthropic", "auto"] {
                let began = ContinuousClock.now
                let models = try await client.get(CodingScene.path(provider, "v1/models?limit=1000"))
                #expect(models.status == 200 && models.text.contains("claude-haiku-4-5"), "\(models.text)")
                #expect(began.duration(to: .now) < .seconds(3), "the bound that Claude Code sets")
            }
            let count = Data(#"{"model":"claude-haiku-4-5","system":"s","messages":[{"role":"user","content":"hi"}]}"#.utf8)
            let counted = try await client.send("POST", CodingScene.path("anthropic", "v1/messages/count_tokens?beta=true"), count)
            #expect(counted.text == #"{"input_tokens":4711}"# && scene.last.body == String(decoding: count, as: UTF8.self))
            // Providers of other protocols are asked in their words, about models that may be used.
            let admin = Client(url: scene.server.url, token: try await People.token(scene.pool, "root", roles: [.admin]))
            let price = SetModelPriceRequest(
                type: "gemini", model: "gemini-2.5-flash", inputPerMillion: 300_000, outputPerMillion: 2_500_000)
            try await eventually("the model has a price") { try await admin.post(APIPaths.models, price).status < 300 }
            for (provider, model, tokens) in [("openai", "gpt-5", 4712), ("gemini", "gemini-2.5-flash", 4713)] {
                let body = String(decoding: count, as: UTF8.self).replacing("claude-haiku-4-5", with: model)
                let other = try await client.send(
                    "POST", CodingScene.path(provider, "v1/messages/count_tokens?beta=true"), Data(body.utf8))
                #expect(other.text == "{\"input_tokens\":\(tokens)}", "\(other.text)")
                #expect(!scene.last.head.contains(scene.token))
            }
            // A redirect would take the provider's key, or the client's token, elsewhere.
            let moved = try await client.get(CodingScene.path("anthropic", "v1/models?limit=3"))
            #expect(moved.status == 502 && moved.header("location") == nil && moved.text.contains("redirect"))
            let call = try await client.send("POST", Self.messages, Data(Self.body(stream: false).utf8))
            #expect(call.status == 502 && call.header("location") == nil && call.text.contains("HTTP 307"))
        }
    }

    @Test func `what the gateway itself refuses says whether trying again is of use`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            try await scene.pool.execute(
                "INSERT INTO ai_budget_caps (user_id, organization_id, cap) SELECT id, organization_id, 1 FROM users WHERE username = 'ada'"
            )
            let client = scene.client(Self.headers)
            let poor = try await client.send("POST", Self.messages, Data(Self.body(stream: true).utf8))
            #expect(poor.status == 402 && poor.header("x-should-retry") == "false" && poor.text.contains("billing_error"))
            let chat = Data(#"{"model":"gpt-5","max_completion_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#.utf8)
            let quota = try await client.send("POST", CodingScene.path("openai", "v1/chat/completions"), chat)
            #expect(quota.status == 429 && quota.header("x-should-retry") == "false" && quota.text.contains("insufficient_quota"))
            #expect(scene.count == 0)
        }
    }

    @Test func `a conversation too long for another provider's model is told in the words that make Claude Code shorten it`()
        async throws
    {
        let error =
            #"{"error":{"message":"This model's maximum context length is 400000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#
        try await CodingScene.with { _ in
            CodingScene.json(error, status: "400 Bad Request")
        } _: { scene in
            let body = #"{"model":"gpt-5","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#
            let answer = try await scene.client(Self.headers).send(
                "POST", CodingScene.path("openai", "v1/messages?beta=true"), Data(body.utf8))
            #expect(answer.status == 400)
            #expect(answer.text.contains("prompt is too long") && answer.text.contains("capability_rejected: prompt_too_long"))
            #expect(answer.text.contains("maximum context length is 400000"))
        }
    }
}
