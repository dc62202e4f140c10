import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct SubjectBudgetTests {
    /// Somebody in the group `devs`, who calls for a task and with a token. All exist.
    private func member(_ stage: Stage) async throws -> Principal {
        var caller = stage.user
        let (group, task, token) = (UUID(), TaskID(), TokenID())
        try await stage.pool.execute(
            "INSERT INTO groups (id, organization_id, name) VALUES (\(group), \(Stage.organization), 'devs')")
        try await stage.pool.execute("INSERT INTO group_members (group_id, user_id) VALUES (\(group), \(caller.user))")
        try await stage.pool.execute(
            """
            INSERT INTO tasks (id, organization_id, owner_id, name, title, model, repository)
            VALUES (\(task), \(Stage.organization), \(caller.user), 'fix-it', 'Fix it', 'm', 'r')
            """)
        try await stage.pool.execute(
            """
            INSERT INTO tokens (id, organization_id, user_id, name, hash, hint, scope)
            VALUES (\(token), \(Stage.organization), \(caller.user), 't', \(Data(repeating: 7, count: 32)), 'h', 'all')
            """)
        caller.task = task
        caller.token = token
        return caller
    }

    private func set(
        _ gateway: Gateway, _ stage: Stage, _ subject: String, _ period: String, _ dollars: String, hard: Bool = true
    ) async throws {
        try await gateway.budgets.set(
            stage.user, subject: subject, period: period, cap: NanoDollars(dollars: dollars)!, isHard: hard)
    }

    private func all(_ gateway: Gateway, _ stage: Stage) async throws -> [String: SubjectBudget] {
        let list = try await gateway.budgets.list(stage.user, everyones: true, PageRequest())
        return Dictionary(uniqueKeysWithValues: list.items.map { ("\($0.subject) \($0.period.rawValue)", $0) })
    }

    @Test func `a call is held and booked in every budget that applies to it, and in none that does not`() async throws {
        try await Stage.with { stage in
            let caller = try await member(stage)
            let other = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { gateway in
                let token = try #require(caller.token)
                let subjects = ["user:ada", "group:devs", "organization", "task:fix-it", "token:\(token)", "user:bob"]
                for (index, subject) in subjects.enumerated() {
                    try await set(gateway, stage, subject, ["day", "week", "total", "total", "day", "day"][index], "10")
                }
                try await set(gateway, stage, "user:ada", "month", "10")
                #expect(try await stage.count("ai_budget_rules") == 6)
                _ = await gateway.call(stage.call(Stage.messages(), as: caller)).text()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let cost = try await stage.ledger()[0].cost
                let budgets = try await all(gateway, stage)
                #expect(budgets.count == 7 && cost > .zero)
                for (name, budget) in budgets {
                    #expect(budget.spent == (name == "user:bob day" ? .zero : cost), "\(name)")
                    #expect(budget.held == .zero && budget.isHard, "\(name)")
                }
                #expect(budgets["task:fix-it total"]?.start == "1970-01-01")
                let ids = try await stage.pool.query("SELECT budget_ids FROM ai_ledger")[0]["budget_ids", as: [Int64].self]
                #expect(ids.count == 6 && ids == ids.sorted())
                // Without the task and the token, in three of them.
                _ = await gateway.call(stage.call(Stage.messages())).text()
                try await eventually { try await stage.count("ai_ledger") == 2 }
                let later = try await all(gateway, stage)
                #expect(later["task:fix-it total"]?.spent == cost && later["token:\(token) day"]?.spent == cost)
                #expect(later["group:devs week"]?.spent == cost + cost && later["organization total"]?.spent == cost + cost)
                // Members see what concerns them, and nobody else's.
                let seen = try await gateway.budgets.list(other, everyones: false, PageRequest()).items.map(\.subject)
                #expect(seen == ["organization", "user:bob"])
                let own = try await gateway.budgets.list(stage.user, everyones: false, PageRequest()).items.map(\.subject)
                #expect(own == ["group:devs", "organization", "task:fix-it", "token:\(token)", "user:ada", "user:ada"])
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `the smallest room cuts the answer, and a refusal names the budget that is short`() async throws {
        try await Stage.with { stage in
            let caller = try await member(stage)
            try await stage.gateway { gateway in
                try await set(gateway, stage, "user:ada", "month", "1")
                try await set(gateway, stage, "group:devs", "week", "0.02")
                try await set(gateway, stage, "task:fix-it", "total", "0.0065")
                let body = Stage.messages(stream: true, maxTokens: 4000)
                let call = stage.call(body, as: caller)
                _ = await gateway.call(call).text()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.hold == NanoDollars(dollars: "0.0065")!)
                try await set(gateway, stage, "task:fix-it", "total", "0.0001")
                let refused = await gateway.call(stage.call(Stage.messages(), as: caller))
                let text = await refused.text()
                #expect(refused.status == 402)
                #expect(text.contains("The budget of task:fix-it for all time does not cover this call"))
                #expect(text.contains("slipway budget set task:fix-it <amount> --period total"))
                // It holds for this task alone.
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                let list = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest())
                #expect(list.items.contains { $0.status == "refused" && $0.error == "budget_exceeded" })
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `each threshold is told once per period: as a row, on the chain and to those whom it concerns`() async throws {
        // $0.0101 a call: 100 tokens in, 1000 out.
        try await Stage.with(Upstream.answer(input: 100, output: 1000)) { stage in
            let caller = try await member(stage)
            let other = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { one in
                try await stage.gateway { two in
                    try await set(one, stage, "group:devs", "month", "0.04", hard: false)
                    try await set(two, stage, "user:ada", "month", "100")
                    for number in 0..<8 {
                        _ = await (number.isMultiple(of: 2) ? one : two).call(stage.call(Stage.messages(), as: caller)).text()
                        try await eventually { try await stage.count("ai_holds") == 0 }
                    }
                    await one.alerts.idle()
                    await two.alerts.idle()
                    // A soft budget refuses nothing.
                    let lines = try await stage.ledger()
                    #expect(lines.count == 8 && lines.allSatisfy { $0.status == "completed" })
                    let alerts = try await one.budgets.alerts(stage.user, everyones: true, PageRequest()).items
                    #expect(alerts.map(\.threshold) == [100, 85, 50])
                    for alert in alerts {
                        #expect(alert.subject == "group:devs" && alert.period == .month && alert.cap == NanoDollars(40_000_000))
                        #expect((alert.spent + alert.held).value * 100 >= alert.cap.value * Int64(alert.threshold))
                    }
                    #expect(try await one.budgets.alerts(stage.user, everyones: false, PageRequest()).items.count == 3)
                    #expect(try await one.budgets.alerts(other, everyones: false, PageRequest()).items.count == 0)
                    let page = try await one.budgets.alerts(stage.user, everyones: true, PageRequest(limit: 2))
                    let rest = try await one.budgets.alerts(stage.user, everyones: true, PageRequest(limit: 2, after: page.next))
                    #expect(page.items.map(\.threshold) == [100, 85] && rest.items.map(\.threshold) == [50] && rest.next == nil)
                    #expect(try await stage.count("audit_facts", "kind = 'budget.alert' AND subject = 'group:devs'") == 3)
                    let told = one.metrics() + two.metrics()
                    #expect(told.contains("slipway_gateway_budget_alerts_total{threshold=\"85\"} 1"))
                    await one.drain(grace: .zero)
                    await two.drain(grace: .zero)
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `what is billed above a hold is counted in every budget, and told`() async throws {
        try await Stage.with(Upstream.answer(input: 50_000, output: 5000)) { stage in
            let caller = try await member(stage)
            try await stage.gateway { gateway in
                try await set(gateway, stage, "group:devs", "day", "0.05")
                try await set(gateway, stage, "task:fix-it", "total", "0.09")
                _ = await gateway.call(stage.call(Stage.messages(maxTokens: 300), as: caller)).text()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.overrun == line.cost - line.hold && line.overrun > .zero)
                let booked = try await all(gateway, stage).values.map(\.spent)
                #expect(booked == [line.cost, line.cost])
                try await eventually { try await stage.count("ai_budget_alerts", "threshold = 100") == 2 }
                #expect(await gateway.call(stage.call(Stage.messages(), as: caller)).status == 402)
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `200 calls at once over two gateways pass no cap of user, group, task, token and organization`() async throws {
        try await Stage.with(maxConnections: 16) { stage in
            let caller = try await member(stage)
            try await stage.gateway { one in
                try await stage.gateway { two in
                    // A call holds about $0.0105 and costs $0.00006.
                    try await set(one, stage, "user:ada", "month", "0.08")
                    try await set(one, stage, "group:devs", "week", "0.05")
                    try await set(one, stage, "task:fix-it", "total", "0.03")
                    try await set(one, stage, "token:\(try #require(caller.token))", "day", "0.06")
                    try await set(one, stage, "organization", "day", "0.07")
                    try await two.settings.refresh()
                    let watch = try await BudgetWatch(stage.pool)
                    // Of each budget something is taken, whoever is first among the 200.
                    _ = await one.call(stage.call(Stage.messages(), as: caller)).text()
                    let outcomes = await withTaskGroup(of: Int.self) { group in
                        for number in 0..<200 {
                            group.addTask {
                                let body = number.isMultiple(of: 3) ? Stage.messages(stream: true) : Stage.messages()
                                // A third of them for the task, the rest for the person.
                                let principal = number % 3 == 1 ? caller : stage.user
                                let answer = await (number.isMultiple(of: 2) ? one : two).call(stage.call(body, as: principal))
                                _ = await answer.text()
                                return answer.status
                            }
                        }
                        return await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
                    }
                    await one.drain(grace: .seconds(5))
                    await two.drain(grace: .seconds(5))
                    let highest = try await watch.highestAndCaps()
                    #expect(Set(highest.keys) == ["month", "group", "task", "token", "organization"])
                    for (name, seen) in highest { #expect(seen.highest <= seen.cap && seen.highest > .zero, "\(name): \(seen)") }
                    #expect((outcomes[200] ?? 0) > 0 && (outcomes[402] ?? 0) > 0)
                    #expect((outcomes[200] ?? 0) + (outcomes[402] ?? 0) == 200, "\(outcomes)")
                    #expect(try await stage.count("ai_ledger") == (outcomes[200] ?? 0) + 1)
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `a new budget is in force on all gateways within two seconds, and a removed one is none`() async throws {
        try await Stage.with { stage in
            _ = try await member(stage)
            try await stage.gateway { one in
                try await stage.gateway { two in
                    try await set(one, stage, "group:devs", "day", "0")
                    #expect(await one.call(stage.call(Stage.messages())).status == 402)
                    try await eventually(within: .seconds(10)) { await two.call(stage.call(Stage.messages())).status == 402 }
                    try await two.budgets.remove(stage.user, subject: "group:devs", period: "day")
                    #expect(await two.call(stage.call(Stage.messages())).status == 200)
                    try await eventually(within: .seconds(10)) { await one.call(stage.call(Stage.messages())).status == 200 }
                    await #expect(throws: (any Error).self) {
                        try await one.budgets.remove(stage.user, subject: "group:devs", period: "day")
                    }
                    // Nobody is in the group any more.
                    try await set(one, stage, "group:devs", "day", "0")
                    try await stage.pool.execute("DELETE FROM group_members")
                    try await eventually(within: .seconds(10)) { await one.call(stage.call(Stage.messages())).status == 200 }
                    #expect(try await stage.count("audit_facts", "kind = 'budget.set'") == 2)
                    #expect(try await stage.count("audit_facts", "kind = 'budget.remove'") == 1)
                    await one.drain(grace: .seconds(1))
                    await two.drain(grace: .seconds(1))
                    try await stage.expectSound(two)
                }
            }
        }
    }

    @Test func `periods begin at midnight, on Monday and on the first, in UTC, whatever the session's time zone`() async throws {
        try await Stage.with { stage in
            for zone in ["UTC", "Pacific/Kiritimati", "America/Anchorage"] {
                let texts: [String] = try await stage.pool.withTransaction { connection in
                    try await connection.execute("SELECT set_config('TimeZone', \(zone), true)")
                    return try await connection.query(
                        """
                        SELECT concat_ws(' ',
                            ai_budget_period('day') = (now() AT TIME ZONE 'UTC')::date,
                            extract(isodow FROM ai_budget_period('week'))::int,
                            (now() AT TIME ZONE 'UTC')::date - ai_budget_period('week') BETWEEN 0 AND 6,
                            extract(day FROM ai_budget_period('month'))::int,
                            date_trunc('month', now() AT TIME ZONE 'UTC')::date = ai_budget_period('month'),
                            ai_budget_period('total')::text) AS it
                        """
                    ).map { try $0["it"] }
                }
                #expect(texts == ["t 1 t 1 t 1970-01-01"], "\(zone)")
            }
        }
    }

    @Test func `subjects, periods and caps that make no sense are refused with the field's name`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                func field(_ subject: String, _ period: String, _ cap: Int64) async -> String? {
                    do {
                        try await gateway.budgets.set(stage.user, subject: subject, period: period, cap: .init(cap), isHard: true)
                        return nil
                    } catch { return (error as? AppError)?.field }
                }
                for subject in [
                    "", ":", "user", "user:", "user:nobody", "group:none", "task:\(TaskID())", "token:x", "planet:x",
                    "organization:x", "user:a'; --",
                ] {
                    #expect(await field(subject, "day", 1) == "subject", "\(subject)")
                }
                for period in ["", "year", "Day", "day "] {
                    #expect(await field("organization", period, 1) == "period", "\(period)")
                }
                for cap in [-1, Int64.min, Int64.max, BudgetService.highestCap.value + 1] {
                    #expect(await field("organization", "day", cap) == "cap_nano_dollars", "\(cap)")
                }
                #expect(await field("organization", "day", BudgetService.highestCap.value) == nil)
                let rules = try await stage.count("ai_budget_rules")
                #expect(rules == 1)
            }
        }
    }
}
