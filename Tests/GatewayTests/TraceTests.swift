import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// The spans of calls as a collector gets them, over a socket.
@Suite struct TraceTests {
    private static let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    /// Runs `body` with a gateway that exports to the collector; returns what that got.
    private func traced(
        _ stage: Stage, providers: [Provider] = [], namesUsers: Bool = false, metrics: Metrics = Metrics(),
        _ body: (Gateway) async throws -> Void
    ) async throws -> [TraceCollector.Span] {
        let collector = TraceCollector()
        try await RawServer.with(collector.script) { server in
            let queue = SpanQueue(metrics: metrics)
            let exporter = SpanExporter(queue, resource: [("service.name", "slipway")], version: "1", logger: .quiet) { json in
                let answer = try await stage.transport.send(
                    HTTPClientRequest(
                        method: "POST", url: server.url + "v1/traces", headers: [(name: "content-type", value: "application/json")],
                        body: ByteBuffer(bytes: json), allowPrivateAddresses: true))
                return .init(status: answer.status, body: Data(Array(buffer: try await answer.body.collect(upTo: 1 << 16))))
            }
            let running = Task { await exporter.run() }
            let tracer = Tracer(queue, namesUsers: namesUsers)
            try await stage.gateway(providers: providers, metrics: metrics, tracer: tracer, namesUsers: namesUsers, body)
            await exporter.close(within: .seconds(30))
            await running.value
        }
        #expect(collector.problems == [])
        return collector.spans
    }

    @Test(arguments: [false, true]) func `a call is a span by the conventions, in its client's trace, with its attempt below it`(
        stream: Bool
    ) async throws {
        try await Stage.with(Upstream.answer(input: 12, output: 7)) { stage in
            var id = ""
            let began = WallNanoseconds.now.value
            let spans = try await traced(stage) { gateway in
                let call = stage.call(
                    Stage.messages("a secret question", stream: stream),
                    headers: [("Traceparent", Self.parent), ("user-agent", "claude-cli/1.0"), ("x-claude-code-session-id", "s-1")])
                id = call.id.description
                let answer = await gateway.call(call)
                #expect(answer.status == 200)
                _ = await answer.text()
            }
            #expect(spans.count == 2)
            let call = try #require(spans.first { $0.name == "chat \(Stage.model)" })
            let attempt = try #require(spans.first { $0.name == "POST" })
            #expect(call.trace == "0af7651916cd43dd8448eb211c80319c" && call.parent == "b7ad6b7169203331" && call.kind == 3)
            #expect(attempt.trace == call.trace && attempt.parent == call.id && attempt.kind == 3)
            // Each span's end is its beginning by the wall clock and its length by another.
            #expect(began <= call.began && call.began <= attempt.began && attempt.ended <= call.ended + 1_000_000)
            #expect(call.error == nil && attempt.error == nil)
            for (key, value) in [
                ("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "anthropic"), ("gen_ai.system", "anthropic"),
                ("gen_ai.request.model", Stage.model), ("gen_ai.response.model", Stage.model), ("gen_ai.response.id", "msg_1"),
                ("gen_ai.response.finish_reasons", "end_turn"), ("gen_ai.usage.input_tokens", "12"),
                ("gen_ai.usage.output_tokens", "7"), ("gen_ai.request.max_tokens", "1000"), ("gen_ai.request.stream", "\(stream)"),
                ("slipway.interception.id", id), ("slipway.request.id", "req-1"), ("slipway.provider", "anthropic"),
                ("slipway.booking", "final"), ("slipway.cost_dollars", "8.2e-05"), ("server.address", "127.0.0.1"),
                ("http.response.status_code", "200"), ("slipway.protocol", "messages"),
            ] { #expect(call[key] == value, "\(key)") }
            #expect((call["gen_ai.response.time_to_first_chunk"] != nil) == stream)
            #expect(call["user.name"] == nil && call["slipway.policy.rule"] != nil)
            #expect(attempt["http.request.method"] == "POST" && attempt["http.response.status_code"] == "200")
            #expect(attempt["gen_ai.request.model"] == Stage.model && attempt["server.port"] == call["server.port"])
            // Neither content nor keys, in any of it.
            for span in spans {
                let all = "\(span)"
                #expect(!all.contains("secret") && !all.contains("Hello.") && !all.contains("sk-"))
            }
        }
    }

    @Test func `each attempt is a span, and what failed says how`() async throws {
        let turns = NIOLockedValueBox(0)
        let passes = Upstream.answer()
        try await Stage.with({ connection in
            let turn = turns.withLockedValue { turns in
                turns += 1
                return turns
            }
            if turn > 1 { return try await passes(connection) }
            _ = try await connection.request()
            try await connection.send(
                "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\nConnection: close\r\nRetry-After: 1\r\n\r\n{}")
        }) { stage in
            var provider = stage.provider("pool", .anthropic)
            provider.keys = [
                .init(secret: Secret("sk-one-of-the-keys"), hint: "sk-o...keys"),
                .init(secret: Secret("sk-two-of-the-keys"), hint: "sk-t...keys"),
            ]
            let spans = try await traced(stage, providers: [provider]) { gateway in
                let answer = await gateway.call(stage.call(Stage.messages(), provider: "pool"))
                #expect(answer.status == 200)
            }
            let attempts = spans.filter { $0.name == "POST" }.sorted { $0.began < $1.began }
            let call = try #require(spans.first { $0.name == "chat \(Stage.model)" })
            #expect(attempts.count == 2)
            #expect(attempts.map(\.parent) == [call.id, call.id])
            #expect(attempts.map(\.trace) == [call.trace, call.trace])
            #expect(call.parent == nil)
            #expect(call.error == nil)
            #expect(call["slipway.attempts"] == "2", "\(call)")
            #expect(attempts[0].error == "429" && attempts[0]["error.type"] == "429")
            #expect(attempts[0]["http.response.status_code"] == "429" && attempts[0]["http.request.resend_count"] == nil)
            #expect(attempts[1].error == nil && attempts[1]["http.request.resend_count"] == "1")
        }
    }

    @Test func `calls that fail or are refused are spans with their class of error`() async throws {
        try await Stage.with(Upstream.bytes(Upstream.head(status: "400 Bad Request", length: 2), "{}")) { stage in
            let spans = try await traced(stage, namesUsers: true) { gateway in
                #expect(await gateway.call(stage.call(Stage.messages())).status == 400)
                #expect(await gateway.call(stage.call(Stage.messages(model: "unheard-of"))).status == 403)
                #expect(await gateway.call(stage.call("not JSON")).status == 400)
                #expect(await gateway.call(stage.call(Stage.messages(), provider: "nobody")).status == 404)
            }
            let calls = spans.filter { $0.name != "POST" }
            #expect(spans.count == 5 && calls.count == 4)
            #expect(calls.map { $0["error.type"] } == ["400", "policy_denied", "bad_request", "not_found"])
            #expect(
                calls.allSatisfy { $0.error != nil && $0["gen_ai.operation.name"] == "chat" && $0["gen_ai.provider.name"] != nil })
            #expect(calls[0]["user.name"] == "ada" && calls[1]["gen_ai.request.model"] == "unheard-of")
            #expect(spans.first { $0.name == "POST" }?["error.type"] == "400")
        }
    }

    @Test func `a provider hears of the trace when it is to, and of nothing else`() async throws {
        let heads = NIOLockedValueBox<[String: RawConnection.Request]>([:])
        let passes = Upstream.message()
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                heads.withLockedValue { $0[request.path.contains("told") ? "told" : "other"] = request }
                try await connection.send(Upstream.head(length: passes.utf8.count) + passes)
            }
        }) { stage in
            var told = stage.provider("told", .anthropic, url: stage.upstream + "/told")
            told.settings.traceContext = true
            let headers = [("traceparent", Self.parent), ("tracestate", "vendor=1"), ("baggage", "user=ada")]
            let spans = try await traced(stage, providers: [told]) { gateway in
                for provider in ["told", "anthropic"] {
                    #expect(await gateway.call(stage.call(Stage.messages(), provider: provider, headers: headers)).status == 200)
                }
            }
            func header(_ name: String, _ place: String) -> String? {
                heads.withLockedValue { $0[place]?.lines.first { $0.lowercased().hasPrefix(name + ":") } }.map {
                    $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
                }
            }
            let attempt = try #require(spans.first { $0.name == "POST" })
            #expect(header("traceparent", "told") == "00-\(attempt.trace)-\(attempt.id)-01")
            #expect(header("tracestate", "told") == "vendor=1" && header("baggage", "told") == nil)
            for name in ["traceparent", "tracestate", "baggage"] { #expect(header(name, "other") == nil) }

            // Without traces of our own the client's is passed on as it came.
            try await stage.gateway(providers: [told]) { gateway in
                #expect(await gateway.call(stage.call(Stage.messages(), provider: "told", headers: headers)).status == 200)
            }
            #expect(header("traceparent", "told") == Self.parent)
        }
    }

    @Test func `a repeat under a key is a span of its own, without an attempt`() async throws {
        try await Stage.with(Upstream.answer()) { stage in
            var ids: [String] = []
            let spans = try await traced(stage) { gateway in
                for _ in 0..<2 {
                    let call = stage.call(Stage.messages(), headers: [("Idempotency-Key", "once")])
                    ids.append(call.id.description)
                    #expect(await gateway.call(call).text() == Upstream.message())
                    await gateway.settle.idle()
                    await gateway.content.idle()
                }
            }
            #expect(spans.filter { $0.name == "POST" }.count == 1)
            let calls = spans.filter { $0.name == "chat \(Stage.model)" }
            #expect(Set(calls.compactMap { $0["slipway.interception.id"] }) == Set(ids))
            let repeated = try #require(calls.first { $0["slipway.interception.id"] == ids[1] })
            #expect(repeated["slipway.replay_of"] == ids[0] && repeated["slipway.cost_dollars"] == nil && repeated.error == nil)
        }
    }

    @Test func `metrics have the conventions' names, and users only where they are asked for`() async throws {
        try await Stage.with(Upstream.answer(input: 12, output: 7)) { stage in
            for namesUsers in [false, true] {
                let metrics = Metrics()
                _ = try await traced(stage, namesUsers: namesUsers, metrics: metrics) { gateway in
                    for stream in [false, true] { _ = await gateway.call(stage.call(Stage.messages(stream: stream))).text() }
                    #expect(await gateway.call(stage.call(Stage.messages(model: "unheard-of"))).status == 403)
                }
                let labels =
                    "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"anthropic\",gen_ai_request_model=\"\(Stage.model)\""
                    + (namesUsers ? ",user_name=\"ada\"" : "")
                let text = metrics.text()
                #expect(text.contains("gen_ai_client_operation_duration_seconds_count{\(labels)} 2\n"))
                #expect(text.contains("gen_ai_client_operation_time_to_first_chunk_seconds_count{\(labels)} 1\n"))
                #expect(text.contains("gen_ai_client_token_usage_bucket{\(labels),gen_ai_token_type=\"input\",le=\"16\"} 2\n"))
                #expect(text.contains("gen_ai_client_token_usage_bucket{\(labels),gen_ai_token_type=\"input\",le=\"4\"} 0\n"))
                #expect(text.contains("gen_ai_client_token_usage_sum{\(labels),gen_ai_token_type=\"output\"} 14\n"))
                #expect(text.contains("ada") == namesUsers)
            }
        }
    }
}
