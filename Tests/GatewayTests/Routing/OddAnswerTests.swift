import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Answers and requests that are within a protocol's letter and outside of its habits.
@Suite struct OddAnswerTests {
    @Test(arguments: [
        ("v1beta/models/m:generateContent?alt=proto", false), ("v1beta/models/m:generateContent?callback=x", false),
        ("v1beta/models/m:generateContent?fields=candidates", false), ("v1beta/models/m:generateContent?%66ields=x", false),
        ("v1beta/models/m:streamGenerateContent?x=alt=sse", true), ("v1beta/models/m:streamGenerateContent", true),
        ("v1beta/models/m:streamGenerateContent?alt=sse&alt=proto", true), ("v1beta/models/m:generateContent?alt=%zz", false),
        ("v1beta/models/m:generateContent?alt=sse", false),
    ])
    func `a query that chooses an answer nobody can read along is refused`(route: String, isStream: Bool) {
        #expect(throws: AppError.self) { try GeminiQuery.check(route: route, isStream: isStream) }
    }

    @Test(arguments: [
        ("v1beta/models/m:generateContent", false), ("v1beta/models/m:generateContent?$alt=json;enum-encoding=int", false),
        ("v1beta/models/m:generateContent?%24alt=json%3Benum-encoding%3Dint", false),
        ("v1beta/models/m:streamGenerateContent?alt=sse", true),
        ("v1beta/models/m:streamGenerateContent?alt=sse&prettyPrint=false", true),
    ])
    func `queries of Google's own clients pass`(route: String, isStream: Bool) throws {
        try GeminiQuery.check(route: route, isStream: isStream)
    }

    @Test func `betas that Bedrock does not take are left out by name`() {
        let all = ["claude-code-20250219", "oauth-2025-04-20", "interleaved-thinking-2025-05-14"]
        let older = BedrockBetas.divide(all, model: "eu.anthropic.claude-sonnet-4-5-v1:0")
        #expect(
            older.taken == ["claude-code-20250219", "interleaved-thinking-2025-05-14"] && older.dropped == ["oauth-2025-04-20"])
        let newer = BedrockBetas.divide(all, model: "global.anthropic.claude-opus-4-7")
        #expect(newer.taken == ["interleaved-thinking-2025-05-14"])
    }

    @Test func `a stream that nobody asked for and that breaks off is an error to the client, and its usage is booked`()
        async throws
    {
        let events = Upstream.messageStream(output: 50)
        try await Stage.with({ connection in
            guard try await connection.request() != nil else { return }
            try await connection.send(Upstream.head("text/event-stream") + events.prefix(4).map(Upstream.chunk).joined())
        }) { stage in
            try await stage.gateway { gateway in
                let text = await gateway.call(stage.call(Stage.messages())).text()
                #expect(text.hasPrefix(events[0]) && text.contains("event: error"), "\(text)")
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.status == "failed" && line.input == 10 && line.output > 0)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `an error in a last event without its end still reaches the client`() async throws {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"full up\"}}\n"
        try await Stage.with({ connection in
            guard try await connection.request() != nil else { return }
            try await connection.send(
                Upstream.head("text/event-stream")
                    + (Upstream.messageStream().prefix(4) + [error]).map(Upstream.chunk).joined() + Upstream.lastChunk)
        }) { stage in
            try await stage.gateway { gateway in
                let call = stage.call(Stage.messages(stream: true))
                let text = await gateway.call(call).text()
                #expect(text.contains("event: error") && text.contains("full up") && text.hasSuffix("\n\n"), "\(text)")
                await gateway.drain(grace: .seconds(1))
                let record = try await gateway.interceptions.get(.own(stage.user), call.id)
                #expect(record.interception.error?.contains("full up") == true)
            }
        }
    }

    @Test func `tokens are counted where policies let the prompt go, and nowhere else`() async throws {
        let asked = NIOLockedValueBox<[String]>([])
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                asked.withLockedValue { $0.append(request.head) }
                let body = #"{"input_tokens":3}"#
                try await connection.send(Upstream.head(length: body.utf8.count) + body)
            }
        }) { stage in
            var bedrock = stage.provider("rock", .bedrock)
            bedrock.keys = [.init(secret: Secret("AKIA:SECRET"), hint: "AKIA")]
            try await stage.gateway(providers: [stage.provider("other", .anthropic), bedrock]) { gateway in
                try await gateway.modelPolicies.put(stage.user, name: "one", models: ["anthropic/*"], roles: [], users: [])
                func count(_ provider: String) async -> GatewayAnswer {
                    await gateway.call(stage.call(Stage.messages(), provider: provider, route: "v1/messages/count_tokens"))
                }
                #expect(await count("anthropic").status == 200)
                let denied = await count("other")
                #expect(denied.status == 403)
                let list = await gateway.call(stage.call("", provider: "rock", route: "v1/models", method: "GET"))
                #expect(list.status == 404)
                #expect(await count("rock").status == 403)
                let heads = asked.withLockedValue { $0 }
                #expect(heads.count == 1 && heads.allSatisfy { !$0.contains("SECRET") })
            }
        }
    }

    @Test func `attempts before the one that the client did not wait for stay on record`() async throws {
        let arrived = NIOLockedValueBox(0)
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                arrived.withLockedValue { $0 += 1 }
                if request.path.hasPrefix("/second") { return await connection.untilClosed() }
                let body = #"{"type":"error","error":{"type":"overloaded_error","message":"full"}}"#
                try await connection.send(Upstream.head(status: "529 Overloaded", length: body.utf8.count) + body)
            }
        }) { stage in
            let providers = ["first", "second"].map { stage.provider($0, .anthropic, url: "\(stage.upstream)/\($0)") }
            try await stage.gateway(providers: providers) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["first/test-model", "second/test-model"])
                let call = stage.call(Stage.messages(model: "fast"), provider: "auto")
                let asking = Task { await gateway.call(call) }
                try await eventually { arrived.withLockedValue { $0 } == 2 }
                asking.cancel()
                _ = await asking.value
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let attempts = try await stage.pool.query("SELECT provider, error FROM ai_attempts ORDER BY attempt")
                #expect(try attempts.map { try $0["provider", as: String.self] } == ["first", "second"])
                #expect(try attempts.map { try $0["error", as: String.self] } == ["HTTP 529", "the client left"])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a translated stream that begins with an error goes to the next target, and without one it is the answer`()
        async throws
    {
        let error = "data: {\"error\":{\"type\":\"server_error\",\"message\":\"no room\"}}\n\n"
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                let answer =
                    request.path.hasPrefix("/chat")
                    ? Upstream.head("text/event-stream") + Upstream.chunk(error) + Upstream.lastChunk
                    : Upstream.head("text/event-stream") + Upstream.messageStream().map(Upstream.chunk).joined()
                        + Upstream.lastChunk
                try await connection.send(answer)
            }
        }) { stage in
            let providers = [
                stage.provider("chat", .openai, url: "\(stage.upstream)/chat"),
                stage.provider("good", .anthropic, url: "\(stage.upstream)/good"),
            ]
            try await stage.gateway(providers: providers) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "a", targets: ["chat/test-model", "good/test-model"])
                let first = await gateway.call(stage.call(Stage.messages(stream: true, model: "a"), provider: "auto"))
                #expect(await first.text() == Upstream.messageStream().joined())
                #expect(first.header("x-slipway-target") == "good/test-model")
                let alone = await gateway.call(stage.call(Stage.messages(stream: true), provider: "chat"))
                #expect(await alone.text().contains("no room"))
            }
        }
    }
}
