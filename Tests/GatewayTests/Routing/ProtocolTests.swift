import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Each protocol at its own path, byte for byte, with its own way of counting.
@Suite struct ProtocolTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var provider: String
        var route: String
        /// As the provider sees it.
        var path: String
        var request: String
        var type: String
        var answer: [String]
        var authentication: String
        /// Input without cached tokens, cached, output.
        var usage: [Int]
    }

    private static let odd = #""unknown_field" : {"a":[1 ,2]},  "#

    static let responses = #"{"model":"test-model",\#(odd)"max_output_tokens":1000,"input":[{"role":"user","content":"hi"}]}"#
    static let streamedResponses = responses.replacingOccurrences(of: #""max_output"#, with: #""stream": true, "max_output"#)
    static let response =
        #"{"id":"resp_1","object":"response","status":"completed","model":"test-model","output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello.","annotations":[]}]}],"usage":{"input_tokens":30,"input_tokens_details":{"cached_tokens":20},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":35}}"#
    static let gemini =
        #"{\#(odd)"contents":[{"role":"user","parts":[{"text":"hi"}]}],"generationConfig":{"maxOutputTokens":1000}}"#
    static let generated =
        #"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello."}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":30,"cachedContentTokenCount":20,"candidatesTokenCount":4,"thoughtsTokenCount":1,"totalTokenCount":35},"modelVersion":"test-model","responseId":"r"}"#

    static let responseStream: [String] = {
        func event(_ type: String, _ rest: String, _ number: Int) -> String {
            "event: \(type)\ndata: {\"type\":\"\(type)\",\"sequence_number\":\(number),\(rest)}\n\n"
        }
        let open = #""response":{"id":"resp_1","object":"response","status":"in_progress","model":"test-model","output":[]}"#
        return [
            event("response.created", open, 0),
            ": odd\r\n\r\nevent: response.future\r\ndata:  {\"type\": \"response.future\"}\r\n\r\n",
            event(
                "response.output_item.added",
                #""output_index":0,"item":{"type":"message","id":"m","role":"assistant","status":"in_progress","content":[]}"#, 1),
            event(
                "response.content_part.added",
                #""item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}"#, 2),
            event(
                "response.output_text.delta", #""item_id":"m","output_index":0,"content_index":0,"delta":"Hello.""#, 3),
            event("response.completed", #""response":\#(response)"#, 4),
        ]
    }()

    static let cases: [Case] = [
        Case(
            testDescription: "Responses, plain", provider: "openai", route: "v1/responses", path: "/v1/responses",
            request: responses,
            type: "application/json", answer: [response], authentication: "authorization: bearer ", usage: [10, 20, 5]),
        Case(
            testDescription: "Responses, streamed", provider: "openai", route: "v1/responses", path: "/v1/responses",
            request: streamedResponses, type: "text/event-stream", answer: responseStream, authentication: "authorization: bearer ",
            usage: [10, 20, 5]),
        Case(
            testDescription: "Azure", provider: "azure", route: "v1/responses", path: "/openai/v1/responses", request: responses,
            type: "application/json", answer: [response], authentication: "api-key: ", usage: [10, 20, 5]),
        Case(
            testDescription: "Gemini, plain", provider: "gemini",
            route: "v1beta/models/test-model:generateContent?key=slipway-token",
            path: "/v1beta/models/test-model:generateContent", request: gemini, type: "application/json", answer: [generated],
            authentication: "x-goog-api-key: ", usage: [10, 20, 5]),
        Case(
            testDescription: "Gemini, streamed", provider: "gemini",
            route: "v1beta/models/test-model:streamGenerateContent?alt=sse&key=t",
            path: "/v1beta/models/test-model:streamGenerateContent?alt=sse", request: gemini, type: "text/event-stream",
            answer: [
                "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hel\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 30,\"cachedContentTokenCount\":20,\"totalTokenCount\": 30},\"modelVersion\": \"test-model\"}\r\n\r\n",
                "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"lo.\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 30,\"cachedContentTokenCount\":20,\"candidatesTokenCount\": 4,\"thoughtsTokenCount\":1,\"totalTokenCount\": 35},\"modelVersion\": \"test-model\"}\r\n\r\n",
            ], authentication: "x-goog-api-key: ", usage: [10, 20, 5]),
    ]

    @Test(arguments: cases) func `passes byte for byte and is priced by its own convention`(_ one: Case) async throws {
        let seen = NIOLockedValueBox<(head: String, path: String, body: String)>(("", "", ""))
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                seen.withLockedValue { $0 = (request.head.lowercased(), request.path, String(buffer: request.body)) }
                try await connection.send(Upstream.head(one.type) + one.answer.map(Upstream.chunk).joined() + Upstream.lastChunk)
            }
        }) { stage in
            try await stage.gateway { gateway in
                try await stage.setCap("5", gateway)
                let call = stage.call(
                    one.request, provider: one.provider, route: one.route,
                    headers: [(name: "x-goog-api-key", value: "slipway-token"), (name: "api-key", value: "slipway-token")])
                let answer = await gateway.call(call)
                #expect(answer.status == 200)
                #expect(await answer.text() == one.answer.joined())
                let (head, path, body) = seen.withLockedValue { $0 }
                #expect(path == one.path)
                #expect(body == one.request)
                #expect(head.contains(one.authentication + "sk-secret-of-the-provider"))
                #expect(!head.contains("slipway-token"))
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let row = try await stage.pool.query(
                    "SELECT input_tokens, cache_read_input_tokens, output_tokens, cost, state FROM ai_ledger")[0]
                let usage = try ["input_tokens", "cache_read_input_tokens", "output_tokens"].map { try row[$0, as: Int.self] }
                #expect(usage == one.usage)
                #expect(try row["state", as: String.self] == "final")
                // Input at 1 dollar, cached at 0.1, output at 10, per million.
                #expect(try row["cost", as: NanoDollars.self] == NanoDollars(62_000))
                #expect(try await stage.count("ai_interceptions", "route LIKE '%key=%'") == 0)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `errors are told in the words of the path's protocol`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                for (provider, route, body, word) in [
                    ("openai", "v1/responses", #"{"model":"unpriced","input":"hi"}"#, #""type":"permission_error""#),
                    ("gemini", "v1beta/models/unpriced:generateContent", #"{"contents":[]}"#, #""status":"PERMISSION_DENIED""#),
                    ("gemini", "v1beta/models/test-model:streamGenerateContent", #"{"contents":[]}"#, "alt=sse"),
                    ("anthropic", "v1beta/models/test-model:generateContent", Self.gemini, "gemini providers only"),
                    ("openai", "v1/responses/resp_1", "{}", "is not served"),
                ] {
                    let answer = await gateway.call(stage.call(body, provider: provider, route: route))
                    #expect(answer.status >= 400)
                    let text = await answer.text()
                    #expect(text.contains(word), "\(route): \(text)")
                }
            }
        }
    }
}
