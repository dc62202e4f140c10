import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Models on Bedrock that are not Claude, by `Converse` and `ConverseStream`; and Bedrock's counting of tokens.
@Suite struct BedrockTests {
    private static let nova = "eu.amazon.nova-pro-v1:0"
    private static let path = "/model/eu.amazon.nova-pro-v1%3A0/"

    /// What Bedrock is asked.
    private final class Seen: Sendable {
        struct Request: Sendable { var path: String, head: String, body: String }
        private let requests = NIOLockedValueBox<[Request]>([])
        var all: [Request] { requests.withLockedValue { $0 } }

        func script(_ answer: @escaping @Sendable (Request) -> [UInt8]) -> RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let seen = Request(
                        path: request.path, head: request.head.lowercased(), body: String(buffer: request.body))
                    self.requests.withLockedValue { $0.append(seen) }
                    try await connection.send(ByteBuffer(bytes: answer(seen)))
                }
            }
        }
    }

    private static let usage = #""usage":{"inputTokens":10,"outputTokens":5,"totalTokens":17,"cacheReadInputTokens":2}"#

    private static func json(_ body: String, _ status: String = "200 OK", _ extra: String = "") -> [UInt8] {
        Array((Upstream.head(status: status, length: body.utf8.count, extra: extra) + body).utf8)
    }

    private static func whole(_ content: String, _ stop: String = "end_turn") -> [UInt8] {
        json(
            #"{"metrics":{"latencyMs":1},"output":{"message":{"content":[\#(content)],"role":"assistant"}},"stopReason":"\#(stop)",\#(usage)}"#
        )
    }

    private static func stream(_ frames: [UInt8]) -> [UInt8] {
        Array(Upstream.head("application/vnd.amazon.eventstream", length: frames.count).utf8) + frames
    }

    private static func events(_ events: [(String, String)], _ stop: String = "end_turn") -> [UInt8] {
        let all =
            [("messageStart", #"{"role":"assistant"}"#)] + events
            + [("messageStop", #"{"stopReason":"\#(stop)"}"#), ("metadata", #"{"metrics":{"latencyMs":1},\#(usage)}"#)]
        return stream(all.flatMap { AmazonFrame.event($0.0, $0.1) })
    }

    /// A call of a tool with its arguments in two pieces, or a text in two.
    @Sendable private static func answer(_ request: Seen.Request) -> [UInt8] {
        if request.body.contains("weather"), !request.body.contains("toolResult") {
            if !request.path.hasSuffix("converse-stream") {
                return whole(#"{"toolUse":{"toolUseId":"tooluse_1","name":"weather","input":{"city":"Oslo"}}}"#, "tool_use")
            }
            return events(
                [
                    (
                        "contentBlockStart",
                        #"{"contentBlockIndex":0,"start":{"toolUse":{"name":"weather","toolUseId":"tooluse_1"}}}"#
                    ),
                    ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"city\":"}}}"#),
                    ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"\"Oslo\"}"}}}"#),
                    ("contentBlockStop", #"{"contentBlockIndex":0}"#),
                ], "tool_use")
        }
        if !request.path.hasSuffix("converse-stream") { return whole(#"{"text":"Hello."}"#) }
        return events([
            ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"Hel"}}"#),
            ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"lo."}}"#),
            ("contentBlockStop", #"{"contentBlockIndex":0}"#),
        ])
    }

    /// A provider whose key signs, with a price for the model.
    private static func with(
        _ answer: @escaping @Sendable (Seen.Request) -> [UInt8],
        _ body: @escaping @Sendable (Stage, Gateway, Seen) async throws -> Void
    ) async throws {
        let seen = Seen()
        try await Stage.with(seen.script(answer)) { stage in
            var provider = stage.provider("rock", .bedrock)
            provider.keys = [.init(secret: Secret("AKIDEXAMPLE:secret"), hint: "AKID")]
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway(providers: [provider]) { gateway in
                try await gateway.prices.set(
                    admin,
                    .init(
                        type: .bedrock, model: nova, prices: Stage.price, validFrom: Date(timeIntervalSince1970: 0)))
                try await stage.setCap("5", gateway)
                try await body(stage, gateway, seen)
                await gateway.settle.idle()
                await gateway.content.idle()
                try await stage.expectSound(gateway)
            }
        }
    }

    private static func request(_ client: ModelProtocol, stream: Bool, tools: Bool = false) -> String {
        let schema = #"{"type":"object","properties":{"city":{"type":"string"}}}"#
        let (limit, tool, prompt) =
            switch client {
            case .messages:
                ("max_tokens", #"{"name":"weather","input_schema":\#(schema)}"#, #""messages":[{"role":"user","content":"hi"}]"#)
            case .chatCompletions:
                (
                    "max_tokens", #"{"type":"function","function":{"name":"weather","parameters":\#(schema)}}"#,
                    #""messages":[{"role":"user","content":"hi"}]"#
                )
            case .responses, .gemini:
                ("max_output_tokens", #"{"type":"function","name":"weather","parameters":\#(schema)}"#, #""input":"hi""#)
            }
        return
            #"{"model":"\#(nova)","\#(limit)":1000,"stream":\#(stream),\#(tools ? "\"tools\":[\(tool)]," : "")\#(prompt)}"#
    }

    private static func read(_ text: String, _ api: ModelProtocol, stream: Bool) throws -> AnswerReader {
        var reader = AnswerReader(api, streamed: stream)
        try reader.feed(ByteBuffer(string: text))
        reader.finish()
        return reader
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions, .responses], [false, true])
    func `any client runs on a model that is no Claude, with tools, priced and recorded`(_ client: ModelProtocol, _ stream: Bool)
        async throws
    {
        try await Self.with(Self.answer) { stage, gateway, seen in
            for tools in [false, true] {
                let call = stage.call(
                    Self.request(client, stream: stream, tools: tools), provider: "rock",
                    route: client.route(model: Self.nova, stream: stream), headers: [(name: "x-api-key", value: "slipway-token")])
                let answer = await gateway.call(call)
                let text = await answer.text()
                #expect(answer.status == 200, "\(text)")
                #expect(answer.header("content-type") == (stream ? "text/event-stream" : "application/json"))
                let reader = try Self.read(text, client, stream: stream)
                #expect(reader.isComplete && reader.text == (tools ? "" : "Hello."), "\(text)")
                let calls = reader.blocks.compactMap { block -> String? in
                    guard case .toolUse("tooluse_1", let name, let input, true) = block else { return nil }
                    return "\(name) \(input.filter { $0 != " " })"
                }
                #expect(calls == (tools ? [#"weather {"city":"Oslo"}"#] : []), "\(text)")
                let asked = try #require(seen.all.last)
                #expect(asked.path == Self.path + (stream ? "converse-stream" : "converse"))
                #expect(asked.head.contains("authorization: aws4-hmac-sha256 credential=akidexample/"))
                #expect(asked.head.contains(stream ? "accept: application/vnd.amazon.eventstream" : "accept: application/json"))
                #expect(!asked.head.contains("slipway-token") && !asked.body.contains(#""model""#))
                #expect(asked.body.contains(#""inferenceConfig":{"maxTokens":1000}"#) && asked.body.contains("toolConfig") == tools)
                await gateway.settle.idle()
                await gateway.content.idle()
                // What the client got, and nothing else.
                #expect(try await gateway.recordedAnswer(call.id, for: stage.user).map { String(buffer: $0.body) } == text)
            }
            let lines = try await stage.ledger()
            #expect(lines.count == 2)
            #expect(lines.allSatisfy { $0.state == "final" && $0.status == "completed" && $0.input == 10 && $0.output == 5 })
            // Ten of input, two from the cache at a tenth, five of output.
            #expect(lines.allSatisfy { $0.cost == NanoDollars(60_200) })
            #expect(try await stage.count("ai_tool_usages", "tool = 'weather'") == 1)
        }
    }

    @Test func `results go back, and Claude on the same provider stays with its own protocol`() async throws {
        try await Self.with { request in
            request.path.contains("converse") ? Self.answer(request) : Self.json(Upstream.message())
        } _: { stage, gateway, seen in
            let body = """
                {"model":"\(Self.nova)","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"tooluse_1",
                "type":"function","function":{"name":"weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"tooluse_1","content":"snow"}]}
                """
            let answer = await gateway.call(stage.call(body, provider: "rock", route: "v1/chat/completions"))
            #expect(answer.status == 200)
            let sent = try #require(seen.all.first?.body)
            #expect(sent.contains(#""toolResult":{"toolUseId":"tooluse_1","content":[{"text":"snow"}]}"#), "\(sent)")
            #expect(sent.contains(#""toolSpec":{"name":"weather""#))
            let claude = await gateway.call(stage.call(Stage.messages(), provider: "rock"))
            #expect(claude.status == 200)
            #expect(seen.all.map(\.path) == [Self.path + "converse", "/model/test-model/invoke"])
        }
    }

    @Test func `errors come in the client's words, by status, as a frame, and where a stream has no end`() async throws {
        let mode = NIOLockedValueBox("status")
        try await Self.with { _ in
            switch mode.withLockedValue({ $0 }) {
            case "status": Self.json(#"{"message":"Too many requests, slow down."}"#, "429 Too Many", "retry-after: 3\r\n")
            case "frame":
                Self.stream(
                    AmazonFrame.event("messageStart", #"{"role":"assistant"}"#)
                        + AmazonFrame.event("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"Hel"}}"#)
                        + AmazonFrame.exception("modelStreamErrorException", #"{"message":"The model broke."}"#))
            case "short":
                Self.stream(
                    AmazonFrame.event("messageStart", #"{"role":"assistant"}"#)
                        + AmazonFrame.event("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"Hel"}}"#))
            default: Self.json(#"{"output":{"unknown":1}}"#)
            }
        } _: { stage, gateway, seen in
            func ask(_ client: ModelProtocol, stream: Bool) async -> (GatewayAnswer, String) {
                let answer = await gateway.call(
                    stage.call(
                        Self.request(client, stream: stream), provider: "rock",
                        route: client.route(model: Self.nova, stream: stream)))
                return (answer, await answer.text())
            }
            let (limited, words) = await ask(.messages, stream: true)
            #expect(limited.status == 429 && limited.header("retry-after") == "3")
            #expect(words.contains(#""type":"rate_limit_error""#) && words.contains("slow down"))
            mode.withLockedValue { $0 = "frame" }
            let broken = await ask(.chatCompletions, stream: true).1
            #expect(broken.contains("Hel") && broken.contains("The model broke.") && !broken.contains("finish_reason\":\"stop"))
            mode.withLockedValue { $0 = "short" }
            let short = await ask(.messages, stream: true).1
            #expect(short.contains("event: error") && !short.contains("message_stop"), "\(short)")
            mode.withLockedValue { $0 = "odd" }
            #expect(await ask(.responses, stream: false).0.status == 502)
            await gateway.settle.idle()
            let lines = try await stage.ledger()
            #expect(lines.map(\.status) == ["failed", "failed", "failed", "failed"])
            #expect(seen.all.count == 4)
        }
    }

    @Test func `rules look into a whole answer, and what it used is booked all the same`() async throws {
        let secret = DataGuardTests.token
        try await Self.with { request in
            request.body.contains("weather")
                ? Self.answer(request) : Self.whole(#"{"text":"It is \#(secret)."}"#)
        } _: { stage, gateway, _ in
            func ask(tools: Bool) async -> (Int, String) {
                let answer = await gateway.call(
                    stage.call(
                        Self.request(.chatCompletions, stream: false, tools: tools), provider: "rock", route: "v1/chat/completions")
                )
                return (answer.status, await answer.text())
            }
            func put(_ policy: String) async throws {
                _ = try await gateway.policies.put(stage.user, name: "data", source: policy)
            }
            try await put(DataGuardTests.redact)
            let redacted = await ask(tools: false)
            #expect(redacted.0 == 200 && redacted.1.contains("It is \(DataGuardTests.removed)."), "\(redacted)")
            try await put(DataGuardTests.deny)
            #expect(await ask(tools: false).0 == 403)
            try await put(
                DataGuardTests.policy("{id: no-weather, effect: deny, resources: {tools: weather}, reason: No forecasts.}"))
            let refused = await ask(tools: true)
            #expect(refused.0 == 403 && refused.1.contains("No forecasts."), "\(refused)")
            await gateway.settle.idle()
            let lines = try await stage.ledger()
            #expect(lines.count == 3 && lines.allSatisfy { $0.state == "final" && $0.cost == NanoDollars(60_200) }, "\(lines)")
        }
    }

    @Test func `what the budget pays for is told to the model, and a longer stream is cut with a proper end`() async throws {
        let long = String(repeating: "word ", count: 1000)
        try await Self.with { _ in
            Self.events((0..<100).map { _ in ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"text":"\#(long)"}}"#) })
        } _: { stage, gateway, seen in
            try await stage.setCap("0.01", gateway)
            let body = Self.request(.messages, stream: true).replacing("1000", with: "4000")
            let text = await gateway.call(stage.call(body, provider: "rock")).text()
            let cut = try Self.read(text, .messages, stream: true)
            #expect(cut.isComplete && cut.stopReason?.word == "max_tokens")
            let sent = try #require(seen.all.first?.body)
            let limit = try #require(sent.firstMatch(of: /"inferenceConfig":{"maxTokens":([0-9]+)}/).flatMap { Int($0.1) })
            #expect((256..<1000).contains(limit), "\(sent)")
            await gateway.settle.idle()
            #expect(try await stage.ledger().map(\.status) == ["cut"])
        }
    }

    @Test func `tokens are counted by Bedrock, of Claude's own body or of the conversation, and it says why it cannot`()
        async throws
    {
        try await Self.with { request in
            if request.path.contains("nova") {
                return Self.json(#"{"message":"The provided model doesn't support counting tokens."}"#, "400 Bad Request")
            }
            if request.path.contains("llama") {
                return Self.json(#"{"message":"slow down"}"#, "429 Too Many", "retry-after: 9\r\n")
            }
            return Self.json(#"{"inputTokens":42}"#)
        } _: { stage, gateway, seen in
            let admin = Principal(
                organization: Stage.organization, user: stage.user.user, username: stage.user.username, roles: [.admin])
            for model in ["eu.anthropic.claude-haiku-4-5-v1:0", "meta.llama4"] {
                try await gateway.prices.set(
                    admin, .init(type: .bedrock, model: model, prices: Stage.price, validFrom: Date(timeIntervalSince1970: 0)))
            }
            func count(_ model: String) async -> (GatewayAnswer, String) {
                let body = #"{"model":"\#(model)","messages":[{"role":"user","content" : "hi"}],"new":[ ]}"#
                let answer = await gateway.call(
                    stage.call(
                        body, provider: "rock", route: "v1/messages/count_tokens?beta=true",
                        headers: [(name: "anthropic-beta", value: "effort-2025-11-24,only-anthropic-knows")]))
                return (answer, await answer.text())
            }
            let (claude, tokens) = await count("eu.anthropic.claude-haiku-4-5-v1:0")
            #expect(claude.status == 200 && tokens == #"{"input_tokens":42}"#, "\(tokens)")
            let asked = try #require(seen.all.first)
            // Counting knows no inference profiles.
            #expect(asked.path == "/model/anthropic.claude-haiku-4-5-v1%3A0/count-tokens")
            #expect(
                asked.head.contains("authorization: aws4-hmac-sha256 credential=akidexample/") && !asked.head.contains("secret"))
            let base64 = try #require(asked.body.firstMatch(of: /"body":"([^"]*)"/)?.1)
            let inner = String(decoding: try #require(Data(base64Encoded: String(base64))), as: UTF8.self)
            #expect(inner.contains(#""messages":[{"role":"user","content" : "hi"}],"new":[ ]}"#), "\(inner)")
            #expect(inner.contains(#""anthropic_beta":["effort-2025-11-24"]"#) && inner.contains(#""max_tokens":1024"#))
            let (nova, why) = await count(Self.nova)
            #expect(
                nova.status == 404 && why.contains("not_found_error") && why.contains("doesn't support counting tokens"), "\(why)")
            #expect(seen.all.last?.path == "/model/amazon.nova-pro-v1%3A0/count-tokens")
            #expect(seen.all.last?.body.contains(#"{"input":{"converse":{"messages":"#) == true)
            let (llama, later) = await count("meta.llama4")
            #expect(llama.status == 429 && llama.header("retry-after") == "9" && later.contains("rate_limit_error"), "\(later)")
            // Never on record, never paid.
            #expect(try await stage.count("ai_interceptions") == 0)
        }
    }
}
