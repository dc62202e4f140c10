import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct RateLimitTests {
    private func set(_ gateway: Gateway, _ stage: Stage, _ name: String, _ change: RateLimitService.Change) async throws {
        try await gateway.limits.put(stage.user, name: name, change)
    }

    /// As if so much time had passed: what was counted lies further back.
    private func pass(slots: Int, _ stage: Stage) async throws {
        try await stage.pool.execute(
            """
            UPDATE ai_rate_counters
            SET slot = slot - \(slots),
                requests = ARRAY(SELECT requests[(i + \(slots)) % 13 + 1] FROM generate_series(0, 12) i ORDER BY i)
            """)
    }

    /// How often each status came, of so many calls at once over the gateways.
    private func burst(_ count: Int, _ stage: Stage, _ gateways: [Gateway], as principal: Principal? = nil) async -> [Int: Int] {
        await withTaskGroup(of: Int.self) { group in
            for number in 0..<count {
                group.addTask {
                    let answer = await gateways[number % gateways.count].call(stage.call(Stage.messages(), as: principal))
                    _ = await answer.text()
                    return answer.status
                }
            }
            return await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
    }

    @Test func `two gateways together let no more requests through than the limit says, and the rest is told when`() async throws {
        try await Stage.with(maxConnections: 16) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    try await set(one, stage, "slow-models", .init(model: "test-*", bounds: .init(requestsPerMinute: 20)))
                    try await two.settings.refresh()
                    #expect(await burst(60, stage, [one, two]) == [200: 20, 429: 40])
                    let answer = await one.call(stage.call(Stage.messages()))
                    let seconds = try #require(answer.header("retry-after").flatMap { Int($0) })
                    let text = await answer.text()
                    #expect(answer.status == 429 && (1...65).contains(seconds))
                    #expect(text.contains("rate_limit_error") && text.contains("The limit 'slow-models' lets 20 requests a minute"))
                    #expect(text.contains("slipway limits set slow-models"))
                    let chat = await two.call(stage.call(Stage.chat(), provider: "openai"))
                    #expect(chat.status == 429 && chat.header("retry-after") != nil)
                    #expect(await chat.text().contains("slow-models"))
                    #expect(try await stage.count("ai_interceptions", "status = 'refused' AND error = 'rate_limited'") == 42)
                    #expect(try await stage.count("ai_ledger") <= 20)
                    // Fifty seconds later, and a minute after that: the rows say so, not this clock.
                    try await pass(slots: 10, stage)
                    #expect(await one.call(stage.call(Stage.messages())).status == 429)
                    try await pass(slots: 13, stage)
                    #expect(await one.call(stage.call(Stage.messages())).status == 200)
                    await one.drain(grace: .seconds(1))
                    await two.drain(grace: .seconds(1))
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `a limit counts a call where it goes, not at a target that is left alone`() async throws {
        let answers = Upstream.answer()
        try await Stage.with({ connection in
            guard let request = try await connection.request() else { return }
            if request.path.hasPrefix("/down") {
                try await connection.send("HTTP/1.1 503 Down\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            } else {
                let answer = Upstream.message()
                try await connection.send(Upstream.head(length: answer.utf8.count, extra: "Connection: close\r\n") + answer)
                try await answers(connection)
            }
        }) { stage in
            let providers = ["down", "up"].map { stage.provider($0, .anthropic, url: "\(stage.upstream)/\($0)") }
            try await stage.gateway(providers: providers) { gateway in
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["down/test-model", "up/test-model"])
                try await set(gateway, stage, "up", .init(provider: "up", bounds: .init(requestsPerMinute: 1)))
                func call() async -> Int { await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto")).status }
                // They go to the first, which fails, and on from there.
                for _ in 0..<CircuitBreaker.tolerated { #expect(await call() == 200) }
                // Its circuit is open.
                #expect(await call() == 200)
                #expect(await call() == 429)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a limit is for what matches it alone, and for each user where it says so`() async throws {
        try await Stage.with { stage in
            let bob = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { gateway in
                try await set(
                    gateway, stage, "each", .init(provider: "anthropic", isPerUser: true, bounds: .init(requestsPerMinute: 2)))
                #expect(await burst(3, stage, [gateway]) == [200: 2, 429: 1])
                #expect(await burst(3, stage, [gateway], as: bob) == [200: 2, 429: 1])
                let chat = await gateway.call(stage.call(Stage.chat(), provider: "openai"))
                #expect(chat.status == 200)
                _ = await chat.text()
                try await set(gateway, stage, "each", .init(user: bob.user, model: "other-*", bounds: .init(requestsPerMinute: 0)))
                #expect(await burst(3, stage, [gateway], as: bob) == [200: 3])
                try await set(gateway, stage, "each", .init(user: bob.user, bounds: .init(requestsPerMinute: 0)))
                #expect(await burst(1, stage, [gateway], as: bob) == [429: 1])
                for bounds in [RateLimit.Bounds(tokensPerMinute: 0), .init(requestsPerMinute: 0)] {
                    try await set(gateway, stage, "each", .init(user: bob.user, bounds: bounds))
                    let never = await gateway.call(stage.call(Stage.messages(), as: bob))
                    // It does not end, so nobody is told to come back.
                    #expect(never.status == 429 && never.header("retry-after") == nil)
                    #expect(await never.text().contains("does not pass until an admin changes it"))
                }
                #expect(await burst(1, stage, [gateway]) == [200: 1])
                // They see what can apply to them.
                let ada = try await gateway.limits.list(stage.user, everyones: false)
                let bobs = try await gateway.limits.list(bob, everyones: false)
                #expect(ada.isEmpty && bobs.map(\.limit.name) == ["each"])
                try await gateway.limits.delete(stage.user, name: "each")
                #expect(await burst(2, stage, [gateway], as: bob) == [200: 2])
                #expect(try await stage.count("audit_facts", "kind = 'limit.set'") == 5)
                #expect(try await stage.count("audit_facts", "kind = 'limit.delete'") == 1)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `tokens count with the most there can be until they are known, and then as they were`() async throws {
        let goOn = TestSupport.Signal()
        let script: RawServer.Script = { connection in
            while try await connection.request() != nil {
                await goOn.wait()
                let answer = Upstream.message(input: 100, output: 20)
                try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
            }
        }
        try await Stage.with(script) { stage in
            try await stage.gateway { gateway in
                // A call counts with about 190 tokens of input, which are bytes, and 1000 of output.
                try await set(gateway, stage, "tokens", .init(bounds: .init(tokensPerMinute: 1500)))
                async let first = gateway.call(stage.call(Stage.messages()))
                try await eventually { try await stage.count("ai_holds") == 1 }
                let refused = await gateway.call(stage.call(Stage.messages()))
                #expect(refused.status == 429)
                #expect(await refused.text().contains("lets 1500 tokens a minute"))
                goOn.fire()
                #expect(await first.status == 200)
                try await eventually { try await stage.count("ai_holds") == 0 }
                let used = try await stage.pool.query(
                    "SELECT (SELECT sum(t)::bigint FROM unnest(tokens) t) AS n FROM ai_rate_counters")
                #expect(try used[0]["n", as: Int.self] == 120)
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                // What alone is larger than the limit passes when nothing else is counted.
                try await stage.pool.execute("UPDATE ai_rate_counters SET slot = 0")
                #expect(await gateway.call(stage.call(Stage.messages(maxTokens: 3000))).status == 200)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    /// An upstream that answers when it is told, and knows how many calls it has.
    private final class Slow: Sendable {
        let now = NIOLockedValueBox((open: 0, most: 0, order: [String]()))
        let goOn = NIOLockedValueBox(0)

        var script: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let body = String(buffer: request.body)
                    let name = body.contains("BACK") ? "background" : "interactive"
                    self.now.withLockedValue {
                        $0.open += 1
                        $0.most = max($0.most, $0.open)
                        $0.order.append(name)
                    }
                    try await eventually { self.goOn.withLockedValue { if $0 > 0 { $0 -= 1; return true } else { return false } } }
                    self.now.withLockedValue { $0.open -= 1 }
                    let answer = Upstream.message()
                    try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                }
            }
        }

        func allow(_ count: Int) { goOn.withLockedValue { $0 += count } }
    }

    @Test func `calls wait for a place, no more run than the limit says, and those that somebody waits for go first`() async throws
    {
        let slow = Slow()
        try await Stage.with(slow.script) { stage in
            try await stage.gateway { gateway in
                try await set(gateway, stage, "two", .init(bounds: .init(concurrency: 2)))
                func call(_ prompt: String, _ headers: [(name: String, value: String)] = []) -> GatewayCall {
                    stage.call(Stage.messages(prompt), headers: headers)
                }
                try await withThrowingTaskGroup(of: Int.self) { group in
                    func begin(_ call: GatewayCall) {
                        group.addTask {
                            let answer = await gateway.call(call)
                            _ = await answer.text()
                            return answer.status
                        }
                    }
                    begin(call("first"))
                    begin(call("first"))
                    try await eventually { slow.now.withLockedValue { $0.open == 2 } }
                    for number in 0..<3 {
                        begin(
                            number == 0
                                ? stage.call(Stage.messages("BACK"), origin: .loop(task: TaskID(), step: 1))
                                : call("BACK", [(name: "X-Slipway-Class", value: "background")]))
                    }
                    try await eventually { gateway.gate.waiting == 3 }
                    for _ in 0..<3 { begin(call("hi")) }
                    try await eventually { gateway.gate.waiting == 6 }
                    slow.allow(8)
                    for try await status in group { #expect(status == 200) }
                }
                let seen = slow.now.withLockedValue { $0 }
                #expect(seen.most == 2)
                // Their bodies differ in length: that tells them apart on record.
                let sizes = try await stage.pool.query("SELECT request_size FROM ai_interceptions ORDER BY started_at")
                    .map { try $0["request_size", as: Int.self] }
                let background = Stage.messages("BACK").utf8.count
                #expect(sizes.count == 8 && sizes.suffix(3).allSatisfy { $0 == background })
                #expect(sizes.prefix(5).allSatisfy { $0 != background })
                try await eventually { try await stage.count("ai_rate_counters", "open <> 0") == 0 }
                // Nothing of those who waited is on record twice, or as refused.
                #expect(try await stage.count("ai_interceptions") == 8)
                #expect(gateway.gate.waiting == 0)
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `who waits too long, or finds the line full, is refused and on record; who leaves waits no more`() async throws {
        let slow = Slow()
        try await Stage.with(slow.script) { stage in
            try await stage.gateway(limits: .init(queueLength: 2, queueTime: .seconds(3))) { gateway in
                try await set(gateway, stage, "one", .init(isPerUser: true, bounds: .init(concurrency: 1)))
                async let first = gateway.call(stage.call(Stage.messages()))
                try await eventually { slow.now.withLockedValue { $0.open == 1 } }
                let began = ContinuousClock.now
                #expect(await burst(5, stage, [gateway]) == [429: 5])
                #expect(began.duration(to: .now) >= .seconds(3))
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.header("retry-after") == "2")
                #expect(await answer.text().contains("The limit 'one' lets 1 calls run at a time"))
                #expect(try await stage.count("ai_interceptions", "status = 'refused' AND error = 'rate_limited'") == 6)
                let leaver = Task { await gateway.call(stage.call(Stage.messages())).status }
                try await eventually { gateway.gate.waiting == 1 }
                leaver.cancel()
                #expect(await leaver.value == 503)
                #expect(gateway.gate.waiting == 0)
                slow.allow(1)
                #expect(await first.status == 200)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `places that a dead replica took come free when its calls are reaped, and who waits elsewhere gets them`()
        async throws
    {
        let slow = Slow()
        try await Stage.with(slow.script) { stage in
            try await stage.gateway(limits: .init(queueTime: .seconds(60))) { two in
                try await set(two, stage, "one", .init(bounds: .init(tokensPerMinute: 1_000_000, concurrency: 1)))
                // What a process that was killed leaves behind.
                let dead = ReplicaID()
                let counter = try await stage.pool.query(
                    """
                    INSERT INTO ai_rate_counters (organization_id, limit_id, subject_id, open)
                    SELECT organization_id, id, id, 1 FROM ai_rate_limits RETURNING id
                    """)[0]["id", as: Int64.self]
                let budget = try await stage.pool.query(
                    """
                    INSERT INTO ai_budgets (organization_id, user_id, period, held)
                    VALUES (\(Stage.organization), \(stage.user.user), ai_budget_period('month'), 1000) RETURNING id
                    """)[0]["id", as: Int64.self]
                let id = InterceptionID()
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_interceptions (id, organization_id, initiator_id, replica_id, request_id, provider, provider_name, protocol,
                        route, model, streamed, client, policy, price_id, hold, request_hash, request_size, prompt_hash)
                    VALUES (\(id), \(Stage.organization), \(stage.user.user), \(dead), 'r', 'anthropic', 'anthropic', 'messages', 'v1/messages',
                        'm', false, 'c', 'p', 'x', 1000, ''::bytea, 0, ''::bytea)
                    """)
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_holds (interception_id, attempt, organization_id, budget_ids, amount, replica_id, created_at,
                        rate_counters, rate_slots, rate_tokens)
                    VALUES (\(id), 1, \(Stage.organization), ARRAY[\(budget)], 1000, \(dead), now() + interval '1 hour',
                        ARRAY[\(counter)], ARRAY[0]::bigint[], 5)
                    """)
                async let answer = two.call(stage.call(Stage.messages()))
                try await eventually { two.gate.waiting == 1 }
                #expect(slow.now.withLockedValue { $0.open } == 0)
                // Its heartbeat has stopped long ago.
                try await stage.pool.execute("UPDATE ai_holds SET created_at = now() - interval '5 seconds'")
                slow.allow(1)
                #expect(await answer.status == 200)
                #expect(try await stage.count("ai_ledger", "state = 'unknown'") == 1)
                try await eventually { try await stage.count("ai_rate_counters", "open <> 0") == 0 }
                await two.drain(grace: .seconds(1))
            }
        }
    }

    @Test func `where the process itself is full a call waits for a place, and is told so when none comes`() async throws {
        let slow = Slow()
        try await Stage.with(slow.script) { stage in
            try await stage.gateway(limits: .init(concurrency: 1, queueLength: 2, queueTime: .seconds(4))) { gateway in
                async let first = gateway.call(stage.call(Stage.messages()))
                try await eventually { slow.now.withLockedValue { $0.open == 1 } }
                let full = await gateway.call(stage.call(Stage.messages()))
                #expect(full.status == 429 && full.header("retry-after") == "2")
                #expect(await full.text().contains("1 calls under way"))
                let background = stage.call(Stage.messages("BACK"), headers: [(name: "x-slipway-class", value: "background")])
                async let second = gateway.call(background)
                try await eventually { gateway.admission.waiting == 1 }
                async let third = gateway.call(stage.call(Stage.messages()))
                try await eventually { gateway.admission.waiting == 2 }
                slow.allow(3)
                for status in [await first.status, await third.status, await second.status] { #expect(status == 200) }
                #expect(slow.now.withLockedValue { $0.order } == ["interactive", "interactive", "background"])
                #expect(slow.now.withLockedValue { $0.most } == 1)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a shutdown lets nobody wait`() async throws {
        let slow = Slow()
        try await Stage.with(slow.script) { stage in
            try await stage.gateway(limits: .init(queueTime: .seconds(600))) { gateway in
                try await set(gateway, stage, "none", .init(bounds: .init(concurrency: 0)))
                async let answer = gateway.call(stage.call(Stage.messages()))
                try await eventually { gateway.gate.waiting == 1 }
                await gateway.drain(grace: .seconds(5))
                #expect(await answer.status == 503)
            }
        }
    }

    @Test func `limits that make no sense are refused with the field's name`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                func field(_ name: String, _ change: RateLimitService.Change) async -> String? {
                    do {
                        try await gateway.limits.put(stage.user, name: name, change)
                        return nil
                    } catch { return (error as? AppError)?.field }
                }
                for number in [-1, Int64.min, .max, RateLimit.highest + 1] {
                    #expect(await field("x", .init(bounds: .init(requestsPerMinute: number))) == "requests_per_minute")
                    #expect(await field("x", .init(bounds: .init(tokensPerMinute: number))) == "tokens_per_minute")
                    #expect(await field("x", .init(bounds: .init(concurrency: number))) == "concurrency")
                }
                #expect(await field("x", .init(bounds: .init())) == "requests_per_minute")
                #expect(await field("A b", .init(bounds: .init(concurrency: 1))) == "name")
                #expect(await field("x", .init(provider: "nobody", bounds: .init(concurrency: 1))) == "provider")
                #expect(await field("x", .init(model: "", bounds: .init(concurrency: 1))) == "model")
                #expect(
                    await field("x", .init(model: String(repeating: "*a", count: 200), bounds: .init(concurrency: 1))) == "model")
                #expect(try await stage.count("ai_rate_limits") == 0)
                let most = RateLimit.highest
                let bounds = RateLimit.Bounds(requestsPerMinute: most, tokensPerMinute: most, concurrency: most)
                #expect(await field("x", .init(bounds: bounds)) == nil)
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }
}
