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
            #expect(try await lines(APIPaths.interceptions + "?format=csv&group=others").count == 1)
            for path in [APIPaths.sessions, APIPaths.interceptions] {
                #expect(try await Client(server, token: auditor).get(path + "?format=xml").status == 400)
                #expect(try await Client(server, token: auditor).get(path + "?group=unheard-of").status == 404)
            }
            await pool.close()
            await server.stop()
        }
    }
}
