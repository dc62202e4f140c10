import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

@Suite struct GatewayDoorTests {
    private static let messages = "/api/v2/ai-gateway/demo/v1/messages"

    private func body(_ prompt: String, stream: Bool) -> Data {
        Data(
            """
            {"model":"demo-scripted","max_tokens":400,"stream":\(stream),"messages":[{"role":"user","content":"\(prompt)"}]}
            """.utf8)
    }

    private func withServer(_ check: (ServerProcess, TestDatabase, _ token: String) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            try await check(server, database, token)
            await server.stop()
        }
    }

    @Test func `a model is called with a Slipway token in each of the three headers and never with a cookie`() async throws {
        try await withServer { server, _, token in
            for (name, value) in [("authorization", "Bearer \(token)"), ("x-api-key", token), ("coder-session-token", token)] {
                let answer = try await Client(server).with(name, value).with("content-type", "application/json")
                    .send("POST", Self.messages, body("demo: hello", stream: false))
                #expect(answer.status == 200, "\(name): \(answer.text)")
                #expect(answer.text.contains("\"type\":\"message\""))
            }
            let refused = try await Client(server).with("cookie", "slipway_session=\(token)").send(
                "POST", Self.messages, body("demo: hello", stream: false))
            #expect(refused.status == 401)
            #expect(refused.text.contains("authentication_error"))
        }
    }

    @Test func `a streamed answer comes as a stream, is recorded, priced and read back by its caller alone`() async throws {
        try await withServer { server, database, token in
            let pool = database.pool()
            let other = try await People.token(pool, "other", roles: [.member])
            let auditor = try await People.token(pool, "auditor", roles: [.auditor])
            let answer = try await Client(server, token: token).send("POST", Self.messages, body("demo: hello", stream: true))
            #expect(answer.status == 200)
            #expect(answer.header("content-type")?.hasPrefix("text/event-stream") == true)
            #expect(answer.text.contains("event: message_start") && answer.text.contains("event: message_stop"))
            #expect(
                try await Client(server, token: other).get(APIPaths.interceptions).json(InterceptionList.self).interceptions.isEmpty
            )
            var seen: InterceptionList?
            // Booked within milliseconds of the answer's end.
            for _ in 0..<200 where seen?.interceptions.first?.status != "completed" {
                seen = try await Client(server, token: auditor).get(APIPaths.interceptions).json(InterceptionList.self)
            }
            let call = try #require(seen?.interceptions.first)
            #expect(call.status == "completed" && call.initiator == "caller" && (call.costNanoDollars ?? 0) > 0)
            var found: Interception?
            // Content is written beside the booking, not with it.
            for _ in 0..<200 where found?.prompt == nil || found?.answer == nil {
                found = try await Client(server, token: auditor).get(APIPaths.interceptions + "/" + call.id).json(Interception.self)
            }
            let detail = try #require(found)
            #expect(detail.prompt == "demo: hello" && detail.answer?.isEmpty == false)
            #expect(detail.ledger?.map(\.state) == ["final"])
            let verdict = try await Client(server, token: auditor).send("POST", APIPaths.audit + "/verify").json(
                AuditVerification.self)
            #expect(verdict.ok && verdict.entries > 0, "\(verdict.problems)")
            await pool.close()
        }
    }

    @Test func `what is wrong is told in the words of the protocol, with the request's id`() async throws {
        try await withServer { server, _, token in
            let client = Client(server, token: token)
            let unknown = try await client.send("POST", "/api/v2/ai-gateway/nobody/v1/messages", body("x", stream: false))
            #expect(unknown.status == 404 && unknown.text.contains("\"type\":\"error\""), "\(unknown.text)")
            let chat = try await Client(server).send("POST", "/api/v2/ai-gateway/demo-openai/v1/chat/completions", Data("{}".utf8))
            #expect(chat.status == 401 && chat.text.contains("\"error\"") && !chat.text.contains("\"type\":\"error\""))
            #expect(
                try RawRequest.status(server.url, path: Self.messages, token: token, bodyBytes: GatewayDoor.maxBodyBytes + 1) == 413
            )
        }
    }
}
