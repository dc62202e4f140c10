import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Clients of one protocol on providers of another, over real sockets; the translations themselves are `ModelAPITests`.
@Suite struct TranslationTests {
    struct Pair: Sendable, CustomTestStringConvertible {
        var client: ModelProtocol
        var provider: ProviderType
        var testDescription: String { "\(client.rawValue) on \(provider.rawValue)" }
    }

    static let pairs: [Pair] = [ModelProtocol.messages, .chatCompletions, .responses].flatMap { client in
        ProviderType.allCases.filter { !$0.protocols.contains(client) }.map { Pair(client: client, provider: $0) }
    }

    private static func request(_ client: ModelProtocol, stream: Bool) -> String {
        switch client {
        case .messages:
            #"{"model":"test-model","max_tokens":1000,"stream":\#(stream),"top_k":5,"messages":[{"role":"user","content":"hi"}]}"#
        case .chatCompletions:
            #"{"model":"test-model","max_tokens":1000,"stream":\#(stream),"seed":5,"logit_bias":{"1":2},"messages":[{"role":"user","content":"hi"}]}"#
        case .responses: #"{"model":"test-model","max_output_tokens":1000,"stream":\#(stream),"top_logprobs":5,"input":"hi"}"#
        case .gemini: ""
        }
    }

    /// What the provider is asked, and how it answers.
    private final class Provider: Sendable {
        let seen = NIOLockedValueBox<[(path: String, head: String, body: String)]>([])

        func script(_ type: ProviderType) -> RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let body = String(buffer: request.body)
                    self.seen.withLockedValue { $0.append((request.path, request.head.lowercased(), body)) }
                    try await connection.send(ByteBuffer(bytes: Self.answer(type, request.path, body)))
                }
            }
        }

        private static func answer(_ type: ProviderType, _ path: String, _ body: String) -> [UInt8] {
            let streams = path.contains("tream") || body.contains("\"stream\":true")
            func text(_ type: String, _ pieces: [String]) -> [UInt8] {
                Array((Upstream.head(type) + pieces.map(Upstream.chunk).joined() + Upstream.lastChunk).utf8)
            }
            let kind = streams ? "text/event-stream" : "application/json"
            switch type {
            case .anthropic: return text(kind, streams ? Upstream.messageStream(input: 10, output: 5) : [Upstream.message()])
            case .openai, .azure:
                return text(kind, streams ? Upstream.chatStream(usage: true) : [Upstream.completion()])
            case .gemini:
                let answer =
                    #"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello."}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"test-model"}"#
                return text(kind, streams ? ["data: \(answer)\r\n\r\n"] : [answer])
            case .bedrock:
                if !streams { return text(kind, [Upstream.message()]) }
                let frames = Upstream.messageStream().filter { $0.hasPrefix("event: m") || $0.hasPrefix("event: c") }.flatMap {
                    event in
                    AmazonFrame.chunk(String(event.split(separator: "\n")[1].dropFirst(6)))
                }
                return Array(Upstream.head("application/vnd.amazon.eventstream", length: frames.count).utf8) + frames
            }
        }
    }

    private static func read(_ text: String, _ api: ModelProtocol, stream: Bool) throws -> AnswerReader {
        var reader = AnswerReader(api, streamed: stream)
        try reader.feed(ByteBuffer(string: text))
        reader.finish()
        return reader
    }

    @Test(arguments: pairs, [false, true]) func `any client runs on any model, and is priced and recorded`(
        _ pair: Pair, _ stream: Bool
    ) async throws {
        let upstream = Provider()
        try await Stage.with(upstream.script(pair.provider)) { stage in
            var provider = stage.provider("other", pair.provider)
            provider.keys = [.init(secret: Secret("AKIDEXAMPLE:secret"), hint: "AKID")]
            try await stage.gateway(providers: [provider]) { gateway in
                try await stage.setCap("5", gateway)
                let call = stage.call(
                    Self.request(pair.client, stream: stream), provider: "other",
                    route: pair.client.route(model: "test-model", stream: stream),
                    headers: [
                        (name: "anthropic-beta", value: "interleaved-thinking-2025-05-14"),
                        (name: "x-api-key", value: "slipway-token"),
                    ])
                let answer = await gateway.call(call)
                let text = await answer.text()
                #expect(answer.status == 200, "\(text)")
                #expect(answer.header("content-type") == (stream ? "text/event-stream" : "application/json"))
                let reader = try Self.read(text, pair.client, stream: stream)
                #expect(reader.isComplete && reader.text == "Hello.", "\(text)")
                // Claude on Bedrock has all that Claude has, and Gemini has top_k.
                let hasAll = pair.client == .messages && [.bedrock, .gemini].contains(pair.provider)
                #expect((answer.header(Losses.header) == nil) == hasAll)
                let seen = try #require(upstream.seen.withLockedValue { $0.first })
                #expect(!seen.head.contains("slipway-token"))
                if pair.provider == .bedrock {
                    #expect(seen.path == "/model/test-model/" + (stream ? "invoke-with-response-stream" : "invoke"))
                    #expect(seen.head.contains("authorization: aws4-hmac-sha256 credential=akidexample/"))
                    #expect(seen.body.contains("bedrock-2023-05-31") && !seen.body.contains("\"model\""))
                }
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.state == "final" && line.status == "completed" && line.input == 10 && line.output == 5)
                #expect(line.cost == NanoDollars(60_000))
                await gateway.drain(grace: .seconds(1))
                // What the client got, and nothing else.
                #expect(try await gateway.recordedAnswer(call.id, for: stage.user).map { String(buffer: $0.body) } == text)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `errors of the upstream come in the client's words, and a cut answer has the client's end`() async throws {
        let mode = NIOLockedValueBox("error")
        try await Stage.with({ connection in
            while try await connection.request() != nil {
                switch mode.withLockedValue({ $0 }) {
                case "error":
                    let body = #"{"error":{"message":"too many of them","type":"tokens","code":"rate_limit_exceeded"}}"#
                    try await connection.send(
                        Upstream.head(status: "429 Too Many", length: body.utf8.count, extra: "retry-after: 3\r\n") + body)
                case "break":
                    try await connection.send(
                        Upstream.head("text/event-stream") + Upstream.chunk(Upstream.chatStream(usage: true)[0]))
                    return
                default:
                    // 40,000 tokens and more, which the budget below does not cover.
                    let long = Upstream.chatStream(
                        Array(repeating: String(repeating: "word ", count: 1000), count: 200), usage: true)
                    try await connection.send(
                        Upstream.head("text/event-stream") + long.map(Upstream.chunk).joined() + Upstream.lastChunk)
                }
            }
        }) { stage in
            try await stage.gateway(providers: [stage.provider("other", .openai)]) { gateway in
                func call(_ maxTokens: Int = 1000) -> GatewayCall {
                    stage.call(Stage.messages(stream: true, maxTokens: maxTokens), provider: "other", route: "v1/messages")
                }
                let limited = await gateway.call(call())
                #expect(limited.status == 429 && limited.header("retry-after") == "3")
                let text = await limited.text()
                #expect(text.contains(#""type":"rate_limit_error""#) && text.contains("too many of them"), "\(text)")
                mode.withLockedValue { $0 = "break" }
                let broken = await gateway.call(call()).text()
                #expect(broken.contains("event: message_start") && broken.contains("event: error\n"), "\(broken)")
                mode.withLockedValue { $0 = "long" }
                // The hold of the broken call may stand a moment longer than its answer.
                await gateway.settle.idle()
                try await stage.setCap("0.01", gateway)
                let long = await gateway.call(call(4000)).text()
                let cut = try Self.read(long, .messages, stream: true)
                #expect(cut.isComplete && cut.stopReason?.word == "max_tokens", "\(long.prefix(500))")
                try await eventually { try await stage.count("ai_ledger") == 3 }
                let lines = try await stage.ledger()
                #expect(lines.map(\.status) == ["failed", "failed", "cut"])
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a server without Responses is spoken to in Chat Completions when that is set`() async throws {
        let upstream = Provider()
        try await Stage.with(upstream.script(.openai)) { stage in
            var provider = stage.provider("local", .openai)
            provider.keys = []
            provider.settings.protocols = [.chatCompletions]
            try await stage.gateway(providers: [provider]) { gateway in
                let answer = await gateway.call(
                    stage.call(Self.request(.responses, stream: true), provider: "local", route: "v1/responses"))
                let text = await answer.text()
                let reader = try Self.read(text, .responses, stream: true)
                #expect(reader.text == "Hello.")
                let seen = try #require(upstream.seen.withLockedValue { $0.first })
                #expect(seen.path == "/v1/chat/completions" && !seen.head.contains("authorization"))
            }
        }
    }
}
