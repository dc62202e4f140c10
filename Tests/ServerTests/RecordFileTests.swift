import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

@Suite struct RecordFileTests {
    @Test func `calls and sessions come as files that a spreadsheet reads, narrowed as the lists are`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let caller = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
            let auditor = try await People.token(pool, "auditor", roles: [.auditor])
            let owner = try await People.token(pool, "owner", roles: [.owner])
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            for _ in 0..<2 {
                let answer = try await Client(server, token: caller).with("content-type", "application/json")
                    .with("x-claude-code-session-id", "=one").with("user-agent", "claude-cli/1.0").send(
                        "POST", "/api/v2/ai-gateway/demo/v1/messages",
                        Data(
                            #"{"model":"demo-scripted","max_tokens":400,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8
                        ))
                #expect(answer.status == 200)
            }
            try await eventually("both are booked") {
                try await pool.query("SELECT count(*) AS n FROM ai_ledger")[0]["n", as: Int.self] == 2
            }
            for name in ["testers", "others"] {
                _ = try await Client(server, token: owner).with("content-type", "application/json").send(
                    "POST", APIPaths.base + "/groups", Data(#"{"name":"\#(name)"}"#.utf8))
            }
            let joined = try await Client(server, token: owner).send("PUT", APIPaths.base + "/groups/testers/members/caller")
            #expect(joined.status < 300, "\(joined.text)")
            func lines(_ path: String) async throws -> [String] {
                let answer = try await Client(server, token: auditor).get(path)
                #expect(answer.status == 200 && answer.header("content-type")?.hasPrefix("text/csv") == true, "\(answer.text)")
                return answer.text.components(separatedBy: "\r\n").dropLast()
            }
            let sessions = try await lines(APIPaths.sessions + "?format=csv&group=testers")
            #expect(sessions.count == 2 && sessions[0].hasPrefix("session_id,started_at,ended_at,initiator,client,"))
            // What a client chose is no formula.
            #expect(sessions[1].hasPrefix("'=one,") && sessions[1].contains(",caller,Claude Code,demo,demo-scripted,2,"))
            #expect(!sessions[1].contains("hello"))
            #expect(try await lines(APIPaths.sessions + "?format=csv&group=others").count == 1)
            let calls = try await lines(APIPaths.interceptions + "?format=csv&group=testers")
            #expect(calls.count == 3 && calls[0].hasSuffix(",first_token_ms"))
            #expect(calls.dropFirst().allSatisfy { $0.split(separator: ",").last.flatMap { Int($0) } != nil }, "\(calls)")
            let shown = try await Client(server, token: auditor).get(APIPaths.interceptions + "?limit=1")
            #expect(shown.text.contains(/"first_token_milliseconds":[0-9]+/), "\(shown.text)")
            let id = try #require(calls[1].split(separator: ",").first)
            let call = try await Client(server, token: auditor).get("\(APIPaths.interceptions)/\(id)").json(Interception.self)
            let page = InterceptionPage(frame: PageFrame(title: "", principal: nil), call: call)
            #expect(page.facts.contains { $0.name == "First token" && $0.value.hasSuffix(" ms") }, "\(page.facts)")
            #expect(call.token != nil && call.tokenID != nil && call.requestHash?.count == 64 && (call.answerBytes ?? 0) > 0)
            #expect(try await lines(APIPaths.interceptions + "?format=csv&group=others").count == 1)
            #expect(try await lines(APIPaths.interceptions + "?format=csv&limit=1") == Array(calls.prefix(2)))
            for query in ["limit=0", "after=1", "status=bogus", "decision=bogus"] {
                let answer = try await Client(server, token: auditor).get(APIPaths.interceptions + "?format=csv&\(query)")
                #expect(answer.status == 400 && answer.text.contains(query.prefix { $0 != "=" }), "\(query): \(answer.text)")
            }
            #expect(try await Client(server, token: auditor).get(APIPaths.interceptions + "?status=bogus").status == 400)
            try await spend(server, auditor: auditor, caller: caller)
            try await groupWithBudget(server, owner: owner)
            decisions(call)
            let other = try await Client(server, token: auditor).send("DELETE", APIPaths.interceptions)
            #expect(other.status == 405 && other.header("allow") == "GET", "\(other.text)")
            #expect(other.text.contains("does not take DELETE"))
            for path in [APIPaths.sessions, APIPaths.interceptions] {
                #expect(try await Client(server, token: auditor).get(path + "?format=xml").status == 400)
                #expect(try await Client(server, token: auditor).get(path + "?group=unheard-of").status == 404)
            }
            await pool.close()
            await server.stop()
        }
    }

    /// Whose spend is asked for, and by whom: `caller` made two calls, `auditor` none.
    private func spend(_ server: ServerProcess, auditor: String, caller: String) async throws {
        func ask(_ token: String, _ query: String) async throws -> Client.Answer {
            try await Client(server, token: token).get(query)
        }
        for path in [APIPaths.spend, APIPaths.usage] {
            func calls(_ token: String, _ user: String) async throws -> Int {
                struct Rows: Decodable {
                    struct Row: Decodable { var calls: Int }
                    var rows: [Row]
                }
                let answer = try await ask(token, "\(path)?user=\(user)")
                #expect(answer.status == 200, "\(answer.text)")
                return try answer.json(Rows.self).rows.reduce(0) { $0 + $1.calls }
            }
            #expect(try await calls(auditor, "caller") == 2)
            #expect(try await calls(auditor, "all") == 2)
            #expect(try await calls(auditor, "me") == 0)
            let unknown = try await ask(auditor, "\(path)?user=nobodyxx")
            #expect(unknown.status == 404 && unknown.error?.validations.first?.field == "user", "\(unknown.text)")
        }
        let turned = try await ask(auditor, APIPaths.spend + "?from=2026-11-30&to=2026-11-01")
        #expect(turned.status == 400 && turned.error?.validations.first?.field == "to", "\(turned.text)")
    }

    @Test func `who may not see what others spent is told so`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let member = try await People.token(pool, "lin", roles: [.member])
            let server = try await ServerProcess.start(database: database.url)
            for path in [APIPaths.spend, APIPaths.usage] {
                for user in ["all", "ada", "nobody"] {
                    #expect(try await Client(server, token: member).get("\(path)?user=\(user)").status == 403, "\(path) \(user)")
                }
                for user in ["?user=me", "?user=lin", ""] {
                    #expect(try await Client(server, token: member).get(path + user).status == 200, "\(path) \(user)")
                }
            }
            await pool.close()
            await server.stop()
        }
    }

    private func groupWithBudget(_ server: ServerProcess, owner: String) async throws {
        let client = Client(server, token: owner)
        let budget = try await client.send(
            "PUT", APIPaths.budgets + "/group:others/day",
            try APICoding.encoder().encode(SetAISubjectBudgetRequest(capNanoDollars: 5)))
        #expect(budget.status == 200, "\(budget.text)")
        #expect(try await client.send("DELETE", APIPaths.base + "/groups/others").status == 204)
        #expect(try await client.get(APIPaths.budgets).json(AISubjectBudgetList.self).budgets.isEmpty)
        let facts = try await client.get(APIPaths.audit + "/facts?kind=budget.remove").json(AuditFactList.self).facts
        #expect(facts.map(\.subject) == ["group:others"] && facts[0].details["period"] == "day" && facts[0].actor == "owner")
    }

    /// How the page of a call says who decided.
    private func decisions(_ call: Interception) {
        var call = call
        call.status = "refused"
        for (policy, error, name, value) in [
            ("data/no-keys", "policy_denied", "Refused by", "data/no-keys"),
            ("default/default price:none flag:a/b", "policy_denied", "Let pass by", "default/default flag:a/b"),
            ("default/default price:none", "policy_denied", "Refused", "policy_denied (the model has no price)"),
            ("default/default", "budget_exceeded", "Refused", "budget_exceeded (too little is left of a budget)"),
            ("", "unavailable", "Cost", "nothing was spent"),
        ] {
            (call.policy, call.error) = (policy, error)
            let facts = InterceptionPage(frame: PageFrame(title: "", principal: nil), call: call).facts
            #expect(facts.contains { $0.name == name && $0.value == value }, "\(facts)")
            #expect(!facts.contains { $0.name == "Allowed by" || $0.name == "Error" || $0.value.isEmpty }, "\(facts)")
        }
    }
}
