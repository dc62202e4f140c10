import API
import Core
import Foundation
import HTTPTransport
import NIOCore
import TestSupport
import Testing

@testable import Server

/// Codex, which speaks Responses.
@Suite struct CodexTests {
    private static let path = CodingScene.path("openai", "v1/responses")
    private static let headers = [
        ("User-Agent", "codex_cli_rs/0.124.0 (Linux)"), ("originator", "codex_cli_rs"), ("session_id", "0199-session"),
        ("conversation_id", "0199-session"), ("OpenAI-Beta", "responses=experimental"),
        ("x-codex-turn-metadata", #"{"turn_id":"t1"}"#),
        ("x-codex-window-id", "0199-session:1"), ("version", "0.124.0"),
    ]

    private static let body =
        #"{"model":"gpt-5","stream":true,"store":false,"instructions":"You are Codex.","prompt_cache_key":"0199-session","max_output_tokens":2000,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"high","summary":"auto"},"parallel_tool_calls":true,"some_future_field":[ 1 ],"tools":[{"type":"function","name":"shell","strict":false,"parameters":{"type":"object"}},{"type":"custom","name":"apply_patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}}],"input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"rules"}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"go"}]},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAA+/="},{"type":"function_call","call_id":"call_1","name":"shell","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"done"}]}"#

    private static func event(_ type: String, _ number: Int, _ rest: String) -> String {
        "event: \(type)\ndata: {\"type\":\"\(type)\",\"sequence_number\":\(number),\(rest)}\n\n"
    }

    private static func answer(_ terminal: String) -> [String] {
        let open = #""response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-5","output":[]}"#
        let call =
            #"{"type":"function_call","id":"fc_1","call_id":"call_2","name":"shell","arguments":"{\"command\":[\"ls\"]}","status":"completed"}"#
        let usage =
            #""usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":20},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":39}"#
        let status = String(terminal.dropFirst("response.".count))
        return [
            event("response.created", 0, open), event("response.in_progress", 1, open),
            event(
                "response.output_item.added", 2,
                #""output_index":0,"item":{"type":"reasoning","id":"rs_2","summary":[]}"#),
            event(
                "response.reasoning_summary_text.delta", 3,
                #""item_id":"rs_2","output_index":0,"summary_index":0,"delta":"thinking""#),
            event(
                "response.output_item.done", 4,
                #""output_index":0,"item":{"type":"reasoning","id":"rs_2","summary":[{"type":"summary_text","text":"thinking"}],"encrypted_content":"gBBBB+/="}"#
            ),
            event(
                "response.output_item.added", 5,
                #""output_index":1,"item":{"type":"function_call","id":"fc_1","call_id":"call_2","name":"shell","arguments":""}"#),
            event(
                "response.function_call_arguments.delta", 6,
                #""item_id":"fc_1","output_index":1,"delta":"{\"command\":[\"ls\"]}""#),
            event("response.output_item.done", 7, #""output_index":1,"item":\#(call)"#),
            event(
                terminal, 8,
                #""response":{"id":"resp_1","object":"response","status":"\#(status)","model":"gpt-5","output":[\#(call)],\#(usage)}"#
            ),
        ]
    }

    @Test(arguments: ["response.completed", "response.incomplete", "response.failed"])
    func `a stream passes byte for byte up to whichever end it has, and its usage is billed`(_ terminal: String) async throws {
        let events = Self.answer(terminal)
        try await CodingScene.with { _ in
            CodingScene.events(events)
        } _: { scene in
            let answer = try await scene.client(Self.headers).send("POST", Self.path, Data(Self.body.utf8))
            #expect(answer.status == 200 && answer.text == events.joined())
            let asked = scene.last
            #expect(asked.body == Self.body && asked.path == "/v1/responses")
            for (name, value) in Self.headers { #expect(asked.header(name.lowercased()) == [value], "\(name)") }
            #expect(asked.header("authorization") == ["Bearer sk-of-the-provider"] && !asked.head.contains(scene.token))
            let call = try await scene.recorded(answer)
            #expect(call.client == "Codex" && call.sessionID == "0199-session")
            #expect(
                call.usage
                    == TokenUsage(
                        inputTokens: 10, cacheReadInputTokens: 20, cacheWriteInputTokens: 0, outputTokens: 9, reasoningTokens: 4))
            #expect((call.costNanoDollars ?? 0) > 0)
            #expect(call.toolUsages?.map(\.id) == ["call_2"] && call.toolUsages?[0].tool == "shell")
            // The booking says when a call ended, its content follows.
            #expect(call.status == (terminal == "response.failed" ? "failed" : "completed"))
        }
    }

    @Test func `Codex leaves right behind the end, and that is a whole call`() async throws {
        let events = Self.answer("response.completed")
        try await CodingScene.with { _ in
            CodingScene.events(events, isWhole: false)
        } _: { scene in
            let answer = try await Client.transport.send(
                HTTPClientRequest(
                    method: "POST", url: scene.server.url + Self.path, headers: scene.client(Self.headers).headers,
                    body: ByteBuffer(string: Self.body), allowPrivateAddresses: true))
            var text = ""
            for try await piece in answer.body {
                text += String(buffer: piece)
                if text.hasSuffix(events.joined()) { break }
            }
            answer.body.cancel()
            #expect(text == events.joined())
            let call = try await scene.recorded(.init(status: answer.status, headers: answer.headers, body: Data()))
            #expect(call.status == "completed" && call.usage?.outputTokens == 9 && call.ledger?.map(\.state) == ["final"])
        }
    }

    @Test func `answers that would come later, or be read back, are refused with the reason`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json("{}")
        } _: { scene in
            let later = Self.body.replacing(#""store":false"#, with: #""store":true,"background":true"#)
            let refused = try await scene.client(Self.headers).send("POST", Self.path, Data(later.utf8))
            #expect(refused.status == 400 && refused.text.contains("background"), "\(refused.text)")
            for (method, route) in [
                ("GET", "v1/responses/resp_1"), ("DELETE", "v1/responses/resp_1"), ("POST", "v1/responses/resp_1/cancel"),
            ] {
                let answer = try await scene.client(Self.headers).send(method, CodingScene.path("openai", route))
                #expect(answer.status == 404 && answer.text.contains("/\(route) is not served"), "\(answer.text)")
            }
            #expect(scene.count == 0)
        }
    }
}
