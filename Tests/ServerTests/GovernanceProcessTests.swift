import API
import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import HTTPTransport
import Postgres
import TestSupport
import Testing

@testable import Server

/// Budgets and limits as they hold over several server processes with one database.
@Suite struct GovernanceProcessTests {
    private static let body = Data(
        #"{"model":"claude-haiku-4-5","max_tokens":300,"messages":[{"role":"user","content":"hi"}]}"#.utf8)
    private static let path = APIPaths.base + "/ai-gateway/anthropic/v1/messages"

    /// Answers once `goOn` fires, and says how many it was asked.
    private static func provider(_ goOn: TestSupport.Signal, _ asked: NIOLockedValueBox<Int>) -> RawServer.Script {
        { connection in
            while try await connection.request() != nil {
                asked.withLockedValue { $0 += 1 }
                await goOn.wait()
                let answer =
                    #"{"id":"m","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}"#
                try await connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(answer.utf8.count)\r\n\r\n\(answer)")
            }
        }
    }

    private struct Scene: Sendable {
        var servers: [ServerProcess]
        var admin: Client
        var token: String
        var pool: PostgresPool
        var goOn: TestSupport.Signal
        var asked: NIOLockedValueBox<Int>

        /// How often each status came, of so many calls at once over both processes.
        func burst(_ count: Int, onRefusal: @escaping @Sendable () -> Void = {}) async throws -> [Int: Int] {
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<count {
                    group.addTask {
                        let client = Client(servers[number % 2], token: token)
                        let status = try await client.send("POST", path, body).status
                        if status != 200 { onRefusal() }
                        return status
                    }
                }
                return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
            }
        }
    }

    private func scene(_ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let (goOn, asked) = (TestSupport.Signal(), NIOLockedValueBox(0))
            try await RawServer.with(Self.provider(goOn, asked)) { upstream in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.member])
                let admin = try await People.token(pool, "root", roles: [.admin])
                let environment = [
                    "SLIPWAY_KEYS": KeyRing.generatedText(id: "shared"), "ANTHROPIC_API_KEY": "sk-test",
                    "ANTHROPIC_BASE_URL": String(upstream.url.dropLast()),
                ]
                let one = try await ServerProcess.start(database: database.url, environment: environment)
                let two = try await ServerProcess.start(database: database.url, environment: environment)
                try await body(
                    Scene(
                        servers: [one, two], admin: Client(one, token: admin), token: token, pool: pool, goOn: goOn, asked: asked))
                await one.stop()
                await two.stop()
                await pool.close()
            }
        }
    }

    private func put(_ scene: Scene, _ path: String, _ value: some Encodable) async throws {
        let answer = try await scene.admin.send("PUT", path, try APICoding.encoder().encode(value))
        #expect(answer.status == 200, "\(answer.text)")
    }

    /// Until the other process has read what was set before this: it then knows a limit that nothing matches, too.
    private func settled(_ scene: Scene) async throws {
        try await put(scene, "\(APIPaths.limits)/marker", SetAIRateLimitRequest(model: "none", requestsPerMinute: 0))
        let other = Client(scene.servers[1], token: scene.token)
        try await eventually("the other process has read it") {
            try await other.get(APIPaths.limits).json(AIRateLimitList.self).limits.contains { $0.name == "marker" }
        }
    }

    @Test func `200 calls at once over two processes pass no cap of user, group, token and organization`() async throws {
        try await scene { scene in
            let group = UUID()
            try await scene.pool.execute(
                "INSERT INTO groups (id, organization_id, name) VALUES (\(group), \(OrganizationID.default), 'devs')")
            try await scene.pool.execute(
                "INSERT INTO group_members (group_id, user_id) SELECT \(group), id FROM users WHERE username = 'ada'")
            let token = try await scene.pool.query(
                "SELECT t.id FROM tokens t JOIN users u ON u.id = t.user_id WHERE username = 'ada'")[0][
                    "id", as: UUID.self]
            // A call holds about two thousandths of a dollar.
            for (subject, period, cap) in [
                ("user:ada", "month", 40_000_000), ("group:devs", "week", 20_000_000), ("organization", "day", 30_000_000),
                ("token:\(token.uuidString.lowercased())", "total", 25_000_000),
            ] {
                try await put(
                    scene, "\(APIPaths.budgets)/\(subject)/\(period)", SetAISubjectBudgetRequest(capNanoDollars: Int64(cap)))
            }
            try await settled(scene)
            let watch = try await BudgetWatch(scene.pool)
            let outcomes = try await scene.burst(200) { scene.goOn.fire() }
            try await eventually("nothing is held") { try await scene.pool.query("SELECT 1 FROM ai_holds").isEmpty }
            let highest = try await watch.highestAndCaps()
            #expect(Set(highest.keys) == ["month", "group", "token", "organization"])
            for (name, seen) in highest { #expect(seen.highest > .zero && seen.highest <= seen.cap, "\(name): \(seen)") }
            #expect((outcomes[200] ?? 0) > 0 && (outcomes[402] ?? 0) > 0)
            #expect((outcomes[200] ?? 0) + (outcomes[402] ?? 0) == 200, "\(outcomes)")
            let cost = try await scene.pool.query("SELECT sum(cost)::bigint AS cost FROM ai_ledger")[0]["cost", as: Int64.self]
            let list = try await scene.admin.get(APIPaths.budgets).json(AISubjectBudgetList.self).budgets
            #expect(list.map(\.spentNanoDollars) == [cost, cost, cost, cost] && list.allSatisfy { $0.heldNanoDollars == 0 })
            let alerts = try await scene.admin.get(APIPaths.budgets + "/alerts").json(AIBudgetAlertList.self).alerts
            #expect(alerts.contains { $0.subject == "group:devs" && $0.threshold == 85 })
            let verdict = try await scene.admin.post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(AuditVerification.self)
            #expect(verdict.ok)
        }
    }

    @Test func `two processes together let no more requests through than a limit says`() async throws {
        try await scene { scene in
            try await put(
                scene, "\(APIPaths.limits)/fair", SetAIRateLimitRequest(provider: "anthropic", perUser: true, requestsPerMinute: 25)
            )
            try await settled(scene)
            scene.goOn.fire()
            let outcomes = try await scene.burst(80)
            #expect(outcomes == [200: 25, 429: 55])
            #expect(scene.asked.withLockedValue { $0 } == 25)
            let refused = try await Client(scene.servers[1], token: scene.token).send("POST", Self.path, Self.body)
            #expect(refused.status == 429 && (1...65).contains(Int(refused.header("retry-after") ?? "") ?? 0))
            #expect(refused.text.contains("'fair'"))
        }
    }

    @Test func `places of a killed process come free for the other one`() async throws {
        try await scene { scene in
            try await put(scene, "\(APIPaths.limits)/narrow", SetAIRateLimitRequest(concurrency: 3))
            try await settled(scene)
            let (one, two) = (scene.servers[0], scene.servers[1])
            let lost = Task {
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<3 {
                        group.addTask { _ = try? await Client(one, token: scene.token).send("POST", Self.path, Self.body) }
                    }
                }
            }
            try await eventually("three calls are under way") { scene.asked.withLockedValue { $0 } == 3 }
            one.signal(SIGKILL)
            _ = await one.ended()
            await lost.value
            #expect(try await scene.pool.query("SELECT open FROM ai_rate_counters")[0]["open", as: Int.self] == 3)
            scene.goOn.fire()
            // It waits in the line until the reaper has been there.
            let status = try await Client(two, token: scene.token).send("POST", Self.path, Self.body).status
            #expect(status == 200)
            try await eventually { try await scene.pool.query("SELECT open FROM ai_rate_counters")[0]["open", as: Int.self] == 0 }
        }
    }
}
