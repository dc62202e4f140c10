import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Routes, keys and attempts over real sockets.
@Suite struct RoutingTests {
    /// What came, and what is answered by the first part of the path; what is not scripted is answered properly.
    private final class Upstreams: Sendable {
        struct Seen: Sendable, Equatable {
            var path: String
            var key: String
            var body: String
        }

        let seen = NIOLockedValueBox<[Seen]>([])
        let answers: @Sendable (Seen) -> String?

        init(_ answers: @escaping @Sendable (Seen) -> String?) { self.answers = answers }

        var script: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let key = request.head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("x-api-key:") } ?? ""
                    let one = Seen(
                        path: request.path, key: String(key.dropFirst(10).drop { $0 == " " }), body: String(buffer: request.body))
                    self.seen.withLockedValue { $0.append(one) }
                    let answer = self.answers(one) ?? Upstreams.proper(one)
                    try await connection.send(answer)
                }
            }
        }

        static func proper(_ seen: Seen) -> String {
            if seen.body.contains("\"stream\": true") {
                return Upstream.head("text/event-stream") + Upstream.messageStream().map(Upstream.chunk).joined()
                    + Upstream.lastChunk
            }
            let answer = Upstream.message()
            return Upstream.head(length: answer.utf8.count) + answer
        }

        static func error(_ status: String, _ type: String = "overloaded_error", extra: String = "") -> String {
            let body = #"{"type":"error","error":{"type":"\#(type)","message":"of the provider itself"}}"#
            return Upstream.head(status: status, length: body.utf8.count, extra: extra) + body
        }

        var paths: [String] { seen.withLockedValue { $0.map { String($0.path.split(separator: "/")[0]) } } }
    }

    private func provider(_ stage: Stage, _ name: String, keys: [String] = ["key"]) -> Provider {
        var provider = stage.provider(name, .anthropic, url: "\(stage.upstream)/\(name)")
        provider.keys = keys.map { .init(secret: Secret($0), hint: "hint of \($0)") }
        return provider
    }

    private func settled(_ stage: Stage, _ count: Int) async throws {
        try await eventually { try await stage.count("ai_ledger") == count }
    }

    @Test func `a target that fails is followed by the next, on record, and one of them is paid`() async throws {
        let upstreams = Upstreams { $0.path.hasPrefix("/first") ? Upstreams.error("529 Overloaded") : nil }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "first"), provider(stage, "second")]) { gateway in
                try await stage.setCap("5", gateway)
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["first/test-model", "second/test-model"])
                let body = Stage.messages(model: "fast")
                let answer = await gateway.call(stage.call(body, provider: "auto"))
                #expect(answer.status == 200)
                #expect(await answer.text() == Upstream.message())
                #expect(answer.header("x-slipway-target") == "second/test-model")
                #expect(answer.header("x-slipway-attempts") == "2")
                #expect(upstreams.paths == ["first", "second"])
                // The name of the model was edited, and nothing else.
                let sent = upstreams.seen.withLockedValue { $0[1].body }
                #expect(sent == body.replacingOccurrences(of: "\"fast\"", with: "\"test-model\""))
                try await settled(stage, 1)
                let row = try await stage.pool.query(
                    "SELECT l.provider, l.model, l.attempt, i.model AS asked, i.provider_name FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id"
                )[0]
                #expect(try row["provider"] == "second" && row["model"] == "test-model" && row["attempt"] == 2)
                #expect(try row["asked"] == "fast" && row["provider_name"] == "auto")
                let attempts = try await stage.pool.query(
                    "SELECT provider, http_status, error FROM ai_attempts ORDER BY attempt")
                #expect(try attempts.map { try $0["provider", as: String.self] } == ["first", "second"])
                #expect(try attempts.map { try $0["http_status", as: Int.self] } == [529, 200])
                #expect(try attempts[0]["error"] == "HTTP 529" && attempts[1]["error", as: String?.self] == nil)
                try await stage.expectSound(gateway)
                try await stage.pool.execute("UPDATE ai_attempts SET provider = 'third' WHERE attempt = 1")
                let problems = try await gateway.audit.verify().problems
                #expect(problems.map(\.kind) == [.changed] && problems[0].message.contains("attempt"))
            }
        }
    }

    @Test func `when all fail, the client reads the last provider's own words`() async throws {
        let upstreams = Upstreams { seen in
            seen.path.hasPrefix("/first")
                ? Upstreams.error("500 Oops", "api_error")
                : Upstreams.error("529 Overloaded", extra: "retry-after: 9\r\nx-should-retry: true\r\n")
        }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "first"), provider(stage, "second")]) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["first/test-model", "second/test-model"])
                let answer = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto"))
                #expect(answer.status == 529 && answer.header("retry-after") == "9" && answer.header("x-should-retry") == "true")
                #expect(
                    await answer.text()
                        == #"{"type":"error","error":{"type":"overloaded_error","message":"of the provider itself"}}"#)
                try await settled(stage, 1)
                #expect(try await stage.ledger()[0].cost == .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what is the request's own fault is tried once`() async throws {
        let upstreams = Upstreams { _ in Upstreams.error("400 Bad Request", "invalid_request_error") }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "first"), provider(stage, "second")]) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["first/test-model", "second/test-model"])
                #expect(await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto")).status == 400)
                #expect(upstreams.paths == ["first"])
                try await settled(stage, 1)
                #expect(try await stage.count("ai_attempts") == 0)
            }
        }
    }

    @Test func `a key that is told to slow down rests, on every replica`() async throws {
        let upstreams = Upstreams {
            $0.key == "one" ? Upstreams.error("429 Too Many", "rate_limit_error", extra: "retry-after: 60\r\n") : nil
        }
        try await Stage.with(upstreams.script) { stage in
            let pool = provider(stage, "pool", keys: ["one", "two"])
            try await stage.gateway(providers: [pool]) { first in
                try await stage.gateway(providers: [pool]) { second in
                    for _ in 0..<2 {
                        let answer = await first.call(stage.call(Stage.messages(), provider: "pool"))
                        #expect(answer.status == 200)
                    }
                    #expect(upstreams.seen.withLockedValue { $0.map(\.key) } == ["one", "two", "two"])
                    try await eventually { second.health.keys(of: pool, at: .now).map(\.hint) == ["hint of two", "hint of one"] }
                    #expect(await second.call(stage.call(Stage.messages(), provider: "pool")).status == 200)
                    #expect(upstreams.seen.withLockedValue { $0.last?.key } == "two")
                }
            }
        }
    }

    @Test func `the only key is tried even when it rests, and the provider's words pass`() async throws {
        let upstreams = Upstreams { _ in Upstreams.error("429 Too Many", "rate_limit_error", extra: "retry-after: 60\r\n") }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "single")]) { gateway in
                for _ in 0..<2 {
                    let answer = await gateway.call(stage.call(Stage.messages(), provider: "single"))
                    #expect(answer.status == 429 && answer.header("retry-after") == "60")
                }
                #expect(upstreams.paths.count == 2)
            }
        }
    }

    @Test func `after five failures a target is left alone`() async throws {
        let upstreams = Upstreams { _ in Upstreams.error("503 Down", "api_error") }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "down"), provider(stage, "up")]) { gateway in
                for _ in 0..<5 { #expect(await gateway.call(stage.call(Stage.messages(), provider: "down")).status == 503) }
                let refused = await gateway.call(stage.call(Stage.messages(), provider: "down"))
                #expect(refused.status == 503 && refused.header("retry-after").flatMap(Int.init) ?? 0 > 0)
                #expect(await refused.text().contains("failed too often"))
                #expect(upstreams.paths.count == 5)
                // A route passes it over.
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["down/test-model", "up/test-model"])
                _ = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto"))
                // On a slow machine the five seconds may be over, and the call is the trial.
                #expect(upstreams.paths.last == "up" && (6...7).contains(upstreams.paths.count))
                try await settled(stage, 7)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a stream that begins with an error goes to the next target, one that has begun does not`() async throws {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"full\"}}\n\n"
        let upstreams = Upstreams { seen in
            switch seen.path.split(separator: "/")[0] {
            case "early": Upstream.head("text/event-stream") + Upstream.chunk(error) + Upstream.lastChunk
            case "late":
                Upstream.head("text/event-stream")
                    + (Upstream.messageStream().prefix(4) + [error]).map(Upstream.chunk).joined() + Upstream.lastChunk
            default: nil
            }
        }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(
                providers: [provider(stage, "early"), provider(stage, "late"), provider(stage, "good")]
            ) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "a", targets: ["early/test-model", "good/test-model"])
                _ = try await gateway.routes.put(stage.user, name: "b", targets: ["late/test-model", "good/test-model"])
                let first = await gateway.call(stage.call(Stage.messages(stream: true, model: "a"), provider: "auto"))
                #expect(await first.text() == Upstream.messageStream().joined())
                #expect(first.header("x-slipway-target") == "good/test-model")
                let second = await gateway.call(stage.call(Stage.messages(stream: true, model: "b"), provider: "auto"))
                #expect(await second.text().hasSuffix(error))
                #expect(second.header("x-slipway-target") == "late/test-model")
                try await settled(stage, 2)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a route's models are judged by policy and price, one by one`() async throws {
        let upstreams = Upstreams { _ in nil }
        try await Stage.with(upstreams.script) { stage in
            try await stage.gateway(providers: [provider(stage, "first"), provider(stage, "second")]) { gateway in
                _ = try await gateway.routes.put(
                    stage.user, name: "fast", targets: ["first/unpriced", "first/test-model", "second/test-model"])
                try await gateway.modelPolicies.put(stage.user, name: "second-only", models: ["second/*"], roles: [], users: [])
                let answer = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto"))
                #expect(answer.status == 200 && answer.header("x-slipway-target") == "second/test-model")
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["first/test-model"])
                let denied = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto"))
                #expect(denied.status == 403)
                let missing = await gateway.call(stage.call(Stage.messages(model: "nothing"), provider: "auto"))
                #expect(missing.status == 404)
                #expect(await missing.text().contains("slipway routes list"))
                let list = await gateway.call(stage.call("", provider: "auto", route: "v1/models", method: "GET"))
                #expect(await list.text().contains(#""id":"fast""#))
                try await settled(stage, 1)
                try await stage.expectSound(gateway)
            }
        }
    }
}
