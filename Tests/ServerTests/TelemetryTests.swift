import API
import Core
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Server

@Suite struct TelemetryTests {
    @Test func `a server exports its calls to the collector that it was given, and the rest at its end`() async throws {
        let collector = TraceCollector()
        try await RawServer.with(collector.script) { end in
            try await TestDatabase.with { database in
                let pool = database.pool()
                let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
                let admin = try await People.token(pool, "root", roles: [.owner])
                await pool.close()
                let server = try await ServerProcess.start(
                    database: database.url,
                    arguments: [
                        "--demo-model", "--otlp-endpoint", end.url, "--otlp-resource", "deployment.environment.name=test",
                    ], environment: ["SLIPWAY_OTLP_HEADERS": "authorization=Bearer%20for-the-collector"])
                let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                let answer = try await Client(server, token: token).with("traceparent", parent).with(
                    "content-type", "application/json"
                )
                .send(
                    "POST", "/api/v2/ai-gateway/demo/v1/messages",
                    Data(#"{"model":"demo-scripted","max_tokens":400,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8))
                #expect(answer.status == 200, "\(answer.text)")
                try await eventually("the call is exported") { collector.spans.count >= 2 }
                let call = try #require(collector.spans.first { $0.name == "chat demo-scripted" })
                #expect(call.trace == "0af7651916cd43dd8448eb211c80319c" && call.parent == "b7ad6b7169203331")
                #expect(call["slipway.interception.id"] == answer.header("x-slipway-interception-id"))
                #expect(call["slipway.request.id"] == answer.header("x-request-id"))
                #expect(call.resource["service.name"] == "slipway" && call.resource["deployment.environment.name"] == "test")
                #expect(call.resource["service.version"] == SlipwayVersion.current && call.resource["service.instance.id"] != nil)
                let head = try #require(collector.heads.first)
                #expect(head.hasPrefix("POST /v1/traces HTTP/1.1\r\n"))
                #expect(head.lowercased().contains("authorization: bearer for-the-collector"))
                // What a call makes at the very end comes with the shutdown.
                _ = try await Client(server, token: token).with("content-type", "application/json").send(
                    "POST", "/api/v2/ai-gateway/demo/v1/messages", Data("{".utf8))
                let metrics = try await Client(server, token: admin).get("/metrics").text
                #expect(metrics.contains("gen_ai_client_operation_duration_seconds_count{"))
                // Counted when the collector has said that it took them, which is after it has them.
                try await eventually("both spans are counted") {
                    try await Client(server, token: admin).get("/metrics").text
                        .contains(#"slipway_telemetry_spans_total{result="exported"} 2"#)
                }
                server.signal(SIGTERM)
                #expect(await server.ended() == 0)
                #expect(collector.spans.contains { $0["error.type"] == "bad_request" })
                #expect(server.logText.contains("Closed in ") && !server.logText.contains("for-the-collector"))
                await server.stop()
            }
        }
        #expect(collector.problems == [])
    }

    @Test func `a collector that hangs slows neither a call nor the end of the server`() async throws {
        let asked = Signal()
        try await RawServer.with({ connection in
            _ = try await connection.request()
            asked.fire()
            await connection.untilClosed()
        }) { end in
            try await TestDatabase.with { database in
                let pool = database.pool()
                let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
                await pool.close()
                let server = try await ServerProcess.start(
                    database: database.url, arguments: ["--demo-model", "--otlp-endpoint", end.url])
                for turn in 0..<5 {
                    let answer = try await Client(server, token: token).with("content-type", "application/json").send(
                        "POST", "/api/v2/ai-gateway/demo/v1/messages",
                        Data(
                            #"{"model":"demo-scripted","max_tokens":400,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8
                        ))
                    #expect(answer.status == 200)
                    if turn == 0 { await asked.wait() }
                }
                // The plan's bound of the phase, and what the rest of a shutdown takes on a busy machine.
                let time = await ContinuousClock().measure {
                    server.signal(SIGTERM)
                    _ = await server.ended()
                }
                #expect(time < .seconds(15))
                #expect(server.logText.contains("Spans were not exported before the end."))
                await server.stop()
            }
        }
    }

    @Test func `options of telemetry say what they expect`() throws {
        func load(_ arguments: [String], _ environment: [String: String] = [:]) throws -> TelemetryConfiguration {
            try ConfigurationLoader(arguments: arguments, environment: environment).load().telemetry
        }
        #expect(try load([]) == TelemetryConfiguration() && load([]).endpoint == nil)
        #expect(try load(["--otlp-endpoint", "http://c:4318"]).endpoint == "http://c:4318/v1/traces")
        #expect(try load(["--otlp-endpoint", "https://c/otlp/"]).endpoint == "https://c/otlp/v1/traces")
        #expect(try load(["--otlp-endpoint", "https://c/v1/traces"]).endpoint == "https://c/v1/traces")
        let all = try load(
            ["--otlp-resource", "a=1, b=x%20y", "--otlp-sampling", "0.25", "--telemetry-users", "on"],
            ["SLIPWAY_OTLP_HEADERS": "x=1,y=a=b"])
        #expect(all.resource == ["a": "1", "b": "x y"] && all.sampling == 0.25 && all.namesUsers)
        #expect(try Tracing.headers(all).reveal().map { "\($0.name):\($0.value)" } == ["x:1", "y:a=b"])
        for wrong in [
            ["--otlp-endpoint", "c:4318"], ["--otlp-endpoint", "ftp://c"], ["--otlp-endpoint", "http://u:p@c"],
            ["--otlp-sampling", "2"],
            ["--otlp-sampling", "x"], ["--otlp-resource", "a"], ["--otlp-headers", "x=1"], ["--telemetry-users", "maybe"],
        ] { #expect(throws: AppError.self, "\(wrong)") { try load(wrong) } }
        #expect(throws: AppError.self) { try load([], ["SLIPWAY_OTLP_HEADERS": "x=a%0d%0ab"]) }
        var missing = TelemetryConfiguration()
        missing.headersFile = "/nowhere"
        #expect(throws: AppError.self) { try Tracing.headers(missing) }
    }
}
