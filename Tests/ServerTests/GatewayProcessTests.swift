import API
import Core
import Foundation
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Server

/// The gateway as clients meet it: several server processes, one database, one provider.
@Suite struct GatewayProcessTests {
    private static let body = Data(
        #"{"model":"claude-haiku-4-5","max_tokens":300,"messages":[{"role":"user","content":"hi"}]}"#.utf8)
    private static let streamed = Data(
        #"{"model":"claude-haiku-4-5","max_tokens":300,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#.utf8)
    private static let path = APIPaths.base + "/ai-gateway/anthropic/v1/messages"

    /// Answers once `goOn` fires: until then the model thinks, and holds stand. A streamed call gets its beginning and nothing more.
    private static func provider(_ goOn: TestSupport.Signal) -> RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                if String(buffer: request.body).contains(#""stream":true"#) {
                    let event =
                        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-haiku-4-5\",\"content\":[],\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"
                    try await connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n"
                    )
                    return await connection.untilClosed()
                }
                await goOn.wait()
                let answer =
                    #"{"id":"m","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}"#
                try await connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(answer.utf8.count)\r\n\r\n\(answer)")
            }
        }
    }

    private struct Scene: Sendable {
        var one: ServerProcess
        var two: ServerProcess
        var token: String
        var auditor: String
        var pool: PostgresPool
        /// Lets the provider answer.
        var goOn: TestSupport.Signal
    }

    /// Two servers on one database, and a user with a budget.
    private func scene(cap: NanoDollars, _ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let goOn = TestSupport.Signal()
            try await RawServer.with(Self.provider(goOn)) { upstream in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.member])
                try await pool.execute(
                    "INSERT INTO ai_budget_caps (user_id, organization_id, cap) SELECT id, organization_id, \(cap) FROM users")
                let auditor = try await People.token(pool, "otto", roles: [.auditor])
                let environment = [
                    "SLIPWAY_KEYS": KeyRing.generatedText(id: "shared"), "ANTHROPIC_API_KEY": "sk-test",
                    "ANTHROPIC_BASE_URL": String(upstream.url.dropLast()),
                ]
                let one = try await ServerProcess.start(database: database.url, environment: environment)
                let two = try await ServerProcess.start(database: database.url, environment: environment)
                try await body(
                    Scene(one: one, two: two, token: token, auditor: auditor, pool: pool, goOn: goOn))
                await one.stop()
                await two.stop()
                await pool.close()
            }
        }
    }

    @Test func `200 calls at once on a nearly spent budget over two processes never pass the cap`() async throws {
        let cap = NanoDollars(20_000_000)
        try await scene(cap: cap) { scene in
            let watch = try await BudgetWatch(scene.pool)
            let outcomes = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let server = number.isMultiple(of: 2) ? scene.one : scene.two
                        let status = try await Client(server, token: scene.token).send("POST", Self.path, Self.body).status
                        // Answers come only when the budget is full: so it must become full, and not one call fuller.
                        if status == 402 { scene.goOn.fire() }
                        return status
                    }
                }
                return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
            }
            try await eventually("nothing is held") { try await scene.pool.query("SELECT 1 FROM ai_holds").isEmpty }
            let highest = try await watch.highest()
            #expect(highest > .zero && highest <= cap)
            #expect((outcomes[200] ?? 0) > 0 && (outcomes[402] ?? 0) > 0)
            #expect((outcomes[200] ?? 0) + (outcomes[402] ?? 0) == 200, "\(outcomes)")
            let books = try await scene.pool.query(
                """
                SELECT (SELECT count(*) FROM ai_ledger) AS rows, (SELECT sum(cost)::bigint FROM ai_ledger) AS cost,
                       (SELECT spent FROM ai_budgets) AS spent, (SELECT held FROM ai_budgets) AS held
                """)[0]
            #expect(try books["rows", as: Int.self] == outcomes[200])
            #expect(try books["cost", as: NanoDollars.self] == (try books["spent", as: NanoDollars.self]))
            #expect(try books["held", as: NanoDollars.self] == .zero)
        }
    }

    @Test func `a call with a key is paid once over two processes, also when the one that made it is killed`() async throws {
        try await scene(cap: NanoDollars(1_000_000_000)) { scene in
            let (one, two) = (Client(scene.one, token: scene.token), Client(scene.two, token: scene.token))
            let key = "Idempotency-Key"
            async let answer = one.with(key, "first").send("POST", Self.path, Self.body)
            try await eventually("the key is claimed") { try await !scene.pool.query("SELECT 1 FROM ai_idempotency_keys").isEmpty }
            async let repeated = two.with(key, "first").send("POST", Self.path, Self.body)
            scene.goOn.fire()
            let (first, second) = (try await answer, try await repeated)
            #expect(first.status == 200 && second.status == 200 && first.body == second.body)
            #expect(second.header("x-slipway-replay-of") == first.header("x-slipway-interception-id"))

            let open = try await OpenStream.open(one.with(key, "second"), "POST", Self.path, Array(Self.streamed))
            #expect(open.status == 200)
            scene.one.signal(SIGKILL)
            _ = await scene.one.ended()
            // Waits until the other's call is booked.
            let refused = try await two.with(key, "second").send("POST", Self.path, Self.streamed)
            #expect(refused.status == 409)
            #expect(refused.text.contains("the server that made it died with it open"))
            #expect(refused.text.contains(open.interception ?? "-"))
            let rows = try await scene.pool.query("SELECT state FROM ai_ledger ORDER BY settled_at")
            #expect(try rows.map { try $0["state", as: String.self] } == ["final", "unknown"])
        }
    }

    @Test func `a killed process's open call is booked by the other as unknown, and the record verifies`() async throws {
        try await scene(cap: NanoDollars(1_000_000_000)) { scene in
            let answer = try await Client.transport.send(
                HTTPClientRequest(
                    method: "POST", url: scene.one.url + Self.path, headers: [(name: "x-api-key", value: scene.token)],
                    body: ByteBuffer(bytes: Self.streamed), allowPrivateAddresses: true))
            #expect(answer.status == 200)
            var iterator = answer.body.makeAsyncIterator()
            #expect(try await iterator.next() != nil)
            scene.one.signal(SIGKILL)
            _ = await scene.one.ended()
            try await eventually("the open call is booked") { try await !scene.pool.query("SELECT 1 FROM ai_ledger").isEmpty }
            let row = try await scene.pool.query(
                "SELECT l.state, l.cost = l.hold AS is_whole, i.status, b.held FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id CROSS JOIN ai_budgets b"
            )[0]
            #expect(try row["state", as: String.self] == "unknown" && row["status", as: String.self] == "unknown")
            #expect(try row["is_whole", as: Bool.self] && row["held", as: NanoDollars.self] == .zero)
            try await eventually {
                let client = Client(scene.two, token: scene.auditor)
                return try await client.post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(AuditVerification.self).ok
            }
        }
    }
}
