import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Calls for embeddings pass byte for byte, and are held, booked, refused and recorded as any call.
@Suite struct EmbeddingCallTests {
    private static let request = """
        {"input" : ["a",  "b"], "model":"\(Stage.model)","dimensions":2, "unknown":{"x" : [ ]}}
        """
    private static let answer = """
        {"object" : "list","data":[{"object":"embedding","index":0,"embedding":[0.10,-2e-3]},{"object":"embedding","index":1,"embedding":[1,0]}],
         "model":"\(Stage.model)","usage":{"prompt_tokens":20,"total_tokens":20},"more" :null}
        """
    private static let gemini = #"{"requests": [{"model":"models/test-model","content":{"parts":[{"text":"a"}]}}]}"#
    private static let geminiAnswer = #"{"embeddings":[{"values":[0.5, 1]}],"usageMetadata":{"promptTokenCount":10}}"#

    private final class Seen: Sendable {
        let requests = NIOLockedValueBox<[(path: String, body: String)]>([])
        var all: [(path: String, body: String)] { requests.withLockedValue { $0 } }

        func script(status: String = "200 OK", _ answer: @escaping @Sendable (String) -> String) -> RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    self.requests.withLockedValue { $0.append((request.path, String(buffer: request.body))) }
                    let body = answer(request.path)
                    try await connection.send(Upstream.head(status: status, length: body.utf8.count) + body)
                }
            }
        }
    }

    @Test func `requests and answers pass byte for byte, and the input is booked`() async throws {
        let seen = Seen()
        try await Stage.with(seen.script { $0.contains("Embed") ? Self.geminiAnswer : Self.answer }) { stage in
            try await stage.gateway { gateway in
                let calls = [
                    stage.call(Self.request, provider: "openai", route: "v1/embeddings"),
                    stage.call(Self.request, provider: "azure", route: "v1/embeddings"),
                    stage.call(Self.gemini, provider: "gemini", route: "v1beta/models/test-model:batchEmbedContents"),
                ]
                for call in calls {
                    let answer = await gateway.call(call)
                    #expect(answer.status == 200)
                    #expect(await answer.text() == (call.provider == "gemini" ? Self.geminiAnswer : Self.answer))
                }
                #expect(
                    seen.all.map(\.path) == [
                        "/v1/embeddings", "/openai/v1/embeddings", "/v1beta/models/test-model:batchEmbedContents",
                    ])
                #expect(seen.all.map(\.body) == [Self.request, Self.request, Self.gemini])
                try await eventually { try await stage.ledger().count == 3 }
                let lines = try await stage.ledger()
                // A dollar per million tokens of input.
                #expect(lines.map(\.cost) == [20_000, 20_000, 10_000].map { NanoDollars($0) })
                #expect(
                    lines.allSatisfy { $0.state == "final" && $0.status == "completed" && $0.output == 0 && $0.overrun == .zero })
                #expect(
                    try await stage.count("ai_interceptions", "protocol = 'embeddings' AND NOT streamed AND model = 'test-model'")
                        == 3)
                let id = calls[0].id
                await gateway.drain(grace: .seconds(1))
                let body = try await gateway.contentStore.body(Stage.organization, id, .answer)
                #expect(body?.state == .complete && body?.bytes == Data(Self.answer.utf8))
                let detail = try await gateway.interceptions.get(.own(stage.user), id)
                #expect(detail.content == "complete" && detail.answer == "")
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what does not report its usage is estimated, and what is an error costs nothing`() async throws {
        try await Stage.with(Seen().script { _ in #"{"embedding":{"values":[1]}}"# }) { stage in
            try await stage.gateway { gateway in
                let body = #"{"content":{"parts":[{"text":"0123456789"}]}}"#
                let call = stage.call(body, provider: "gemini", route: "v1beta/models/test-model:embedContent")
                #expect(await gateway.call(call).status == 200)
                try await eventually { try await stage.ledger().count == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.state == "estimated" && line.status == "completed" && line.input == (body.utf8.count + 3) / 4)
            }
        }
        try await Stage.with(Seen().script(status: "400 Bad Request") { _ in #"{"error":{"message":"too long"}}"# }) { stage in
            try await stage.gateway { gateway in
                let answer = await gateway.call(stage.call(Self.request, provider: "openai", route: "v1/embeddings"))
                #expect(answer.status == 400)
                #expect(await answer.text() == #"{"error":{"message":"too long"}}"#)
                try await eventually { try await stage.ledger().count == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.cost == .zero && line.status == "failed" && line.httpStatus == 400)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `budgets, policies, prices and wrong providers refuse before anything is sent`() async throws {
        let seen = Seen()
        try await Stage.with(seen.script { _ in Self.answer }) { stage in
            try await stage.gateway { gateway in
                func status(_ body: String = Self.request, _ provider: String = "openai", _ route: String = "v1/embeddings") async
                    -> (Int, String)
                {
                    let answer = await gateway.call(stage.call(body, provider: provider, route: route))
                    return (answer.status, await answer.text())
                }
                let wrong = await status(Self.request, "anthropic")
                #expect(wrong.0 == 404 && wrong.1.contains("not translated"))
                #expect(await status(Self.request, "gemini").0 == 404)
                #expect(await status(Self.request.replacing("test-model", with: "dear-model")).0 == 403)
                #expect(await status("{}").0 == 400)
                #expect(await status("{").0 == 400)
                try await stage.setCap("0.00000001", gateway)
                let short = await status()
                #expect(short.0 == 429 && short.1.contains("insufficient_quota"))
                try await stage.setCap("1", gateway)
                try await gateway.modelPolicies.put(stage.user, name: "other", models: ["nobody/*"], roles: [], users: [])
                #expect(await status().0 == 403)
                #expect(seen.all.isEmpty)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `rules about data look through the texts, policies know the protocol, and numbers of tokens pass no such rule`()
        async throws
    {
        let seen = Seen()
        let vectors = #"{"data":[{"embedding":"\#(DataGuardTests.token)"}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#
        try await Stage.with(seen.script { _ in vectors }) { stage in
            try await stage.gateway { gateway in
                func ask(_ body: String) async -> (Int, String) {
                    let answer = await gateway.call(stage.call(body, provider: "openai", route: "v1/embeddings"))
                    return (answer.status, await answer.text())
                }
                func put(_ policy: String) async throws {
                    _ = try await gateway.policies.put(stage.user, name: "data", source: policy)
                }
                let secret = Self.request.replacing(#""b""#, with: #""my \#(DataGuardTests.token)""#)
                try await put(DataGuardTests.redact)
                let redacted = await ask(secret)
                // Vectors in base64 are no words: nothing is cut out of them.
                #expect(redacted.0 == 200 && redacted.1 == vectors)
                #expect(seen.all.map(\.body) == [secret.replacing(DataGuardTests.token, with: DataGuardTests.removed)])
                let numbers = await ask(#"{"model":"\#(Stage.model)","input":[[1,2],[3]]}"#)
                #expect(numbers.0 == 400 && numbers.1.contains("send the input as text"))
                try await put(DataGuardTests.deny)
                let denied = await ask(secret)
                #expect(denied.0 == 403 && denied.1.contains("input[1]") && denied.1.contains("data/tokens"))
                try await put(
                    DataGuardTests.policy("{id: none, effect: deny, resources: {protocols: [embeddings]}, reason: No vectors.}"))
                let refused = await ask(Self.request)
                #expect(refused.0 == 403 && refused.1.contains("No vectors."))
                #expect(seen.all.count == 1)
                await gateway.settle.idle()
                await gateway.content.idle()
                #expect(
                    try await DataGuardTests.findings(stage).first
                        == "prompt input[1] secret.github_token data/tokens redacted 1")
                #expect(try await stage.count("ai_interceptions", "status = 'refused' AND protocol = 'embeddings'") == 2)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a replay answers from what was recorded`() async throws {
        let seen = Seen()
        try await Stage.with(seen.script { _ in Self.answer }) { stage in
            try await stage.gateway { gateway in
                #expect(await gateway.call(stage.call(Self.request, provider: "openai", route: "v1/embeddings")).status == 200)
                await gateway.settle.idle()
                await gateway.content.idle()
                let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
                _ = try await gateway.providers.create(
                    admin, name: "again", type: .openai, .init(baseURL: "replay://openai/speed=0"))
                let answer = await gateway.call(stage.call(Self.request, provider: "again", route: "v1/embeddings"))
                #expect(await answer.text() == Self.answer && answer.header("x-slipway-replayed") != nil)
                #expect(seen.all.count == 1)
            }
        }
    }

    @Test func `a route names the model in the body, and only there`() async throws {
        let seen = Seen()
        try await Stage.with(seen.script { _ in Self.answer }) { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.routes.put(stage.user, name: "vectors", targets: ["openai/\(Stage.model)"])
                let body = Self.request.replacing(Stage.model, with: "vectors")
                let answer = await gateway.call(stage.call(body, provider: "auto", route: "v1/embeddings"))
                #expect(answer.status == 200 && answer.header("x-slipway-target") == "openai/\(Stage.model)")
                #expect(seen.all.map(\.body) == [Self.request])
                // A repeat under a key gets the vectors of the first.
                for _ in 0..<2 {
                    let call = stage.call(
                        Self.request, provider: "openai", route: "v1/embeddings", headers: [(name: "idempotency-key", value: "k")])
                    #expect(await gateway.call(call).text() == Self.answer)
                }
                #expect(seen.all.count == 2)
            }
        }
    }

    @Test func `a picture holds what the model can take at most, a text what it has`() async throws {
        try await Stage.with(Seen().script { _ in Self.geminiAnswer }) { stage in
            try await stage.gateway { gateway in
                func ask(_ part: String) async -> Int {
                    let call = stage.call(
                        #"{"content":{"parts":[\#(part)]}}"#, provider: "gemini", route: "v1beta/models/test-model:embedContent")
                    return await gateway.call(call).status
                }
                // Half of its 200,000 tokens.
                try await stage.setCap("0.1", gateway)
                #expect(await ask(#"{"text":"a"}"#) == 200)
                await gateway.settle.idle()
                #expect(await ask(#"{"inlineData":{"mimeType":"image/png","data":"iVBORw=="}}"#) == 429)
                try await stage.setCap("1", gateway)
                #expect(await ask(#"{"inlineData":{"mimeType":"image/png","data":"iVBORw=="}}"#) == 200)
                await gateway.settle.idle()
                #expect(try await stage.ledger().map(\.hold).max() == NanoDollars(200_000_000))
                try await stage.expectSound(gateway)
            }
        }
    }
}
