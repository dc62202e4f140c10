import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// What calls take, what they may ask for, and what they may make of it.
@Suite struct HoldTests {
    // MARK: Bounds

    @Test func `no count of a request ends the server: what no budget can have is refused by name`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let huge = 1_000_000_000
                for (provider, route, body, parts) in [
                    (
                        "openai", "v1/chat/completions", Stage.chat(maxTokens: huge, extra: #""n":1000000000,"#),
                        ["\\\"n\\\"", "128"]
                    ),
                    (
                        "openai", "v1/chat/completions", Stage.chat(maxTokens: huge, extra: #""n":128,"#),
                        ["max_tokens", "number of answers"]
                    ),
                    (
                        "anthropic", "v1/messages", Stage.messages().replacing("{\"model\"", with: "{\"n\": 1000000000, \"model\""),
                        ["\\\"n\\\""]
                    ),
                    (
                        "gemini", "v1beta/models/test-model:generateContent",
                        #"{"contents":[],"generationConfig":{"maxOutputTokens":1000000000,"candidateCount":1000000000}}"#,
                        ["candidateCount", "128"]
                    ),
                    (
                        "gemini", "v1beta/models/test-model:generateContent",
                        #"{"contents":[],"generationConfig":{"maxOutputTokens":1000000000,"candidateCount":128}}"#,
                        ["generationConfig.maxOutputTokens"]
                    ),
                ] {
                    let answer = await gateway.call(stage.call(body, provider: provider, route: route))
                    let text = await answer.text()
                    #expect(answer.status == 400, "\(text)")
                    for part in parts { #expect(text.contains(part), "\(part): \(text)") }
                }
                let held = try await stage.count("ai_holds")
                #expect(held == 0)
                #expect(await gateway.call(stage.call(Stage.chat(extra: #""n":128,"#), provider: "openai")).status == 200)
            }
        }
    }

    // MARK: Partial holds

    private struct Case: Sendable {
        var provider: String
        var route: String
        var body: String
        /// How the limit is written upstream; the number follows.
        var field: String
        var answers = 1
    }

    @Test func `where a hold covers less than was asked for, the provider is told the limit and nothing else is changed`()
        async throws
    {
        let chat = Stage.chat(stream: true, maxTokens: 4000, extra: #""stream_options":{"include_usage":true},"#)
        let cases: [Case] = [
            .init(
                provider: "anthropic", route: "v1/messages", body: Stage.messages(stream: true, maxTokens: 4000),
                field: "\"max_tokens\": "),
            .init(provider: "openai", route: "v1/chat/completions", body: chat, field: "\"max_tokens\":"),
            .init(
                provider: "openai", route: "v1/chat/completions", body: chat.replacing("\"max_tokens\":4000,", with: "\"n\":2,"),
                field: "{\"max_tokens\":", answers: 2),
            .init(
                provider: "openai", route: "v1/responses",
                body: #"{"model":"test-model","stream":true,"max_output_tokens":4000,"input":"hi","reasoning":{"effort":"high"}}"#,
                field: "\"max_output_tokens\":"),
            .init(
                provider: "gemini", route: "v1beta/models/test-model:streamGenerateContent?alt=sse",
                body: #"{"contents":[{"parts":[{"text":"hi"}]}],"generation_config":{"max_output_tokens":4000}}"#,
                field: "\"max_output_tokens\":"),
            // Translated.
            .init(
                provider: "openai", route: "v1/messages", body: Stage.messages(stream: true, maxTokens: 4000),
                field: "tokens\":"),
            .init(
                provider: "gemini", route: "v1/messages", body: Stage.messages(stream: true, maxTokens: 4000),
                field: "\"maxOutputTokens\":"),
        ]
        let seen = NIOLockedValueBox<[String]>([])
        let script: RawServer.Script = { connection in
            while let request = try await connection.request() {
                seen.withLockedValue { $0.append(String(buffer: request.body)) }
                let answer = #"{"error":{"type":"invalid_request_error","message":"enough"}}"#
                try await connection.send(Upstream.head(status: "400 Bad Request", length: answer.utf8.count) + answer)
            }
        }
        try await Stage.with(script) { stage in
            try await stage.gateway { gateway in
                try await stage.setCap("0.0075", gateway)
                for (index, wanted) in cases.enumerated() {
                    let answer = await gateway.call(stage.call(wanted.body, provider: wanted.provider, route: wanted.route))
                    let text = await answer.text()
                    #expect(seen.withLockedValue { $0.count } == index + 1, "\(wanted.route): \(text)")
                    let body = try #require(seen.withLockedValue { $0.last })
                    let place = try #require(body.range(of: wanted.field), "\(wanted.field) in \(body)")
                    let digits = body[place.upperBound...].prefix { $0.isNumber }
                    let limit = try #require(Int(digits), "\(body)")
                    // All answers at the limit are within the money, with the input at its dearest.
                    #expect(limit >= 256 / wanted.answers && limit * wanted.answers <= 750, "\(limit) of \(wanted.route)")
                    if wanted.body.contains("4000"), wanted.route.contains("messages") == (wanted.provider == "anthropic") {
                        #expect(body == wanted.body.replacing("4000", with: digits))
                    }
                    _ = try JSONSerialization.jsonObject(with: Data(body.utf8))
                    try await eventually { try await stage.count("ai_holds") == 0 }
                }
                // With money enough the bytes are the client's.
                try await stage.setCap("100", gateway)
                _ = await gateway.call(stage.call(cases[0].body)).text()
                #expect(seen.withLockedValue { $0.last } == cases[0].body)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    // MARK: Batches

    @Test func `threads are linked within one person's calls, whoever shares their batch`() async throws {
        try await Stage.with { stage in
            let other = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { gateway in
                let replica = gateway.configuration.replica
                let earlier = try stage.request(replica)
                _ = try await gateway.holds.take(earlier)
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_tool_usages (interception_id, n, organization_id, provider_tool_call_id, tool, input)
                    VALUES (\(earlier.interception.id), 0, \(Stage.organization), 'call_1', 't', '{}')
                    """)
                let batch = [
                    try stage.request(replica, toolCall: "call_0"), try stage.request(replica, as: other, toolCall: "call_1"),
                    try stage.request(replica, toolCall: "call_1"),
                ]
                let outcomes = try await HoldTransaction(
                    pool: stage.pool, chain: gateway.calls, alerts: gateway.alerts, memory: HoldMemory(), batch: batch
                ).run()
                #expect(try outcomes.map { try $0.get().threadParent } == [nil, nil, earlier.interception.id.uuid])
            }
        }
    }

    @Test(arguments: ["UPDATE ai_budget_caps SET cap = 0", "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'"])
    func `who changes a budget or a limit at that moment makes a batch look again, not fail`(change: String) async throws {
        try await Stage.with { stage in
            let other = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { gateway in
                try await stage.setCap("1", gateway)
                // Behind the look at the budgets, in front of the taking.
                try await stage.once(before: "INSERT", on: "ai_interceptions", change)
                let replica = gateway.configuration.replica
                let batch = [try stage.request(replica), try stage.request(replica, as: other)]
                let outcomes = try await HoldTransaction(
                    pool: stage.pool, chain: gateway.calls, alerts: gateway.alerts, memory: HoldMemory(), batch: batch
                ).run()
                #expect(try outcomes.map { try $0.get().amount } == [NanoDollars(1_000_000), NanoDollars(1_000_000)])
                #expect(try await stage.count("ai_holds") == 2)
            }
        }
    }
}
