import AuditProof
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct RetentionTests {
    private let later = Date().addingTimeInterval(40 * 86_400)

    private func scene(calls: Int = 3, _ body: (Stage, Gateway, Principal) async throws -> Void) async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.setCap("5", gateway)
                try await gateway.modelPolicies.put(stage.user, name: "all", models: ["*"], roles: [], users: [])
                for number in 0..<calls {
                    let answer = await gateway.call(stage.call(Self.request(number))).text()
                    #expect(answer.contains("Hello."))
                }
                await gateway.settle.idle()
                await gateway.content.idle()
                try await body(stage, gateway, try await Stage.makeUser(stage.pool, "max", roles: [.admin]))
            }
        }
    }

    private static func request(_ number: Int) -> String {
        #"{"model":"test-model","max_tokens":300,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t\#(number)","content":"done"},{"type":"text","text":"prompt \#(number)"}]}]}"#
    }

    private static let contentTables = ["ai_contents", "ai_user_prompts", "ai_tool_results", "ai_chunks"]

    @Test func `content beyond its time goes, the record of it stays, and everything still verifies`() async throws {
        try await scene { stage, gateway, admin in
            let call = try await gateway.interceptions.list(.all(admin), .init(), PageRequest()).items[0]
            #expect(try await gateway.retention.sweep(now: later) == .init())
            _ = try await gateway.rules.set(admin, contentDays: 30, recordDays: nil)
            #expect(try await gateway.retention.sweep() == .init())
            let removed = try await gateway.retention.sweep(now: later)
            #expect(removed.contents == 3 && removed.records == 0 && removed.chunks > 0)
            for table in Self.contentTables { #expect(try await stage.count(table) == 0, "\(table)") }
            #expect(try await stage.count("ai_interceptions") == 3)
            #expect(try await stage.count("ai_ledger") == 3)
            let detail = try await gateway.interceptions.get(.all(admin), call.id)
            #expect(detail.content == "removed" && detail.removedAt != nil && detail.interception.prompt == nil)
            let report = try await gateway.audit.verify()
            #expect(report.problems == [] && report.removedByRetention == 3)
            #expect(try await stage.count("audit_facts", "kind = 'retention.content'") == 1)
            #expect(try await gateway.retention.sweep(now: later) == .init())
        }
    }

    @Test func `records beyond their time go, and chains and budgets still verify`() async throws {
        try await scene { stage, gateway, admin in
            _ = try await gateway.rules.set(admin, contentDays: 7, recordDays: 30)
            let removed = try await gateway.retention.sweep(now: later)
            #expect(removed.contents == 3 && removed.records == 3)
            #expect(try await stage.count("ai_interceptions") == 0)
            #expect(try await stage.count("ai_ledger") == 0)
            _ = try await gateway.checkpoints.makeIfNeeded()
            #expect(try await gateway.audit.verify().problems == [])
            // A tombstone that somebody else sets stands for nothing.
            _ = await gateway.call(stage.call(Self.request(9))).text()
            await gateway.settle.idle()
            await gateway.content.idle()
            for statement in [
                "INSERT INTO audit_tombstones (fact_id, n, organization_id, what, subject) SELECT id, 99, organization_id, 'interception', (SELECT id::text FROM ai_interceptions) FROM audit_facts WHERE kind = 'retention.record'",
                "DELETE FROM ai_interceptions",
            ] { try await stage.pool.execute(Query(unsafeSQL: statement)) }
            let problems = try await gateway.audit.verify().problems
            #expect(problems.contains { $0.kind == .changed && $0.message.contains("is not what it put on record") }, "\(problems)")
            #expect(problems.contains { $0.kind == .removed && $0.message.contains("interception") }, "\(problems)")
        }
    }

    @Test func `a tombstone that says another cost is named`() async throws {
        try await scene { stage, gateway, admin in
            _ = try await gateway.rules.set(admin, contentDays: nil, recordDays: 30)
            try await gateway.retention.sweep(now: later)
            try await stage.pool.execute("UPDATE audit_tombstones SET cost = cost + 1 WHERE what = 'ledger'")
            let problems = try await gateway.audit.verify().problems
            #expect(problems.contains { $0.message.contains("is not what it put on record") })
            #expect(problems.contains { $0.kind == .budget })
        }
    }

    @Test func `what is held is never removed, and goes when the hold ends`() async throws {
        try await scene { stage, gateway, admin in
            let session = try await gateway.interceptions.list(.all(admin), .init(), PageRequest()).items[1].session
            let hold = try await gateway.legalHolds.add(admin, .session, subject: session, name: session, reason: "case 7")
            let again = try await gateway.legalHolds.add(stage.user, .session, subject: session, name: session, reason: "another")
            #expect(again.id != hold.id && again.reason == "another" && again.creator == stage.user.user)
            #expect(try await gateway.legalHolds.list(admin).map(\.id) == [hold.id, again.id])
            _ = try await gateway.rules.set(admin, contentDays: 1, recordDays: 30)
            let removed = try await gateway.retention.sweep(now: later)
            #expect(removed.contents == 2 && removed.records == 2)
            let kept = try await gateway.interceptions.list(.all(admin), .init(), PageRequest()).items
            #expect(kept.map(\.session) == [session])
            let detail = try await gateway.interceptions.get(.all(admin), kept[0].id)
            #expect(
                detail.content == "complete" && detail.answer == "Hello." && detail.interception.prompt?.hasPrefix("prompt") == true
            )
            #expect(try await gateway.audit.verify().problems == [])
            // What several hold is free when the last one ends.
            try await gateway.legalHolds.remove(admin, id: hold.id)
            #expect(try await gateway.retention.sweep(now: later) == .init())
            #expect(try await gateway.legalHolds.list(admin).map(\.id) == [again.id])
            try await gateway.legalHolds.remove(admin, id: again.id)
            #expect(try await gateway.legalHolds.list(admin).isEmpty)
            // The chunks of what was held were in use as long as it was.
            #expect(try await gateway.retention.sweep(now: later).records == 1)
            #expect(try await stage.count("ai_interceptions") == 0)
            let kinds = try await stage.pool.query("SELECT kind FROM audit_facts WHERE kind LIKE 'audit.%' ORDER BY at").map {
                try $0["kind", as: String.self]
            }
            #expect(kinds == ["audit.hold", "audit.hold", "audit.retention", "audit.release", "audit.release"])
            #expect(try await gateway.audit.verify().problems == [])
        }
    }

    @Test func `a chunk that newer content uses stays`() async throws {
        try await scene { stage, gateway, admin in
            _ = try await gateway.rules.set(admin, contentDays: 30, recordDays: nil)
            // Stored long ago, and used today.
            try await stage.pool.execute("UPDATE ai_chunks SET used_on = used_on - 100")
            gateway.content.forgetStored()
            _ = await gateway.call(stage.call(Self.request(0))).text()
            await gateway.content.idle()
            #expect(try await gateway.retention.sweep().chunks == 2)
            let newest = try await gateway.interceptions.list(.all(admin), .init(), PageRequest()).items[0]
            #expect(try await gateway.interceptions.get(.all(admin), newest.id).content == "complete")
        }
    }

    @Test func `of a call whose content is not kept there are hashes, or not even these`() async throws {
        try await scene(calls: 0) { stage, gateway, admin in
            for mode in [ContentMode.hashed, .none] {
                #expect(try await gateway.rules.set(admin, mode: mode).contentMode == mode)
                let call = stage.call(Self.request(1))
                #expect(await gateway.call(call).text().contains("Hello."))
                await gateway.settle.idle()
                await gateway.content.idle()
                for table in Self.contentTables { #expect(try await stage.count(table) == 0, "\(table)") }
                let detail = try await gateway.interceptions.get(.all(admin), call.id)
                #expect(detail.content == mode.rawValue && detail.answer == "" && detail.interception.prompt == nil)
                let row = try await stage.pool.query(
                    """
                    SELECT i.request_size, l.answer_size, i.request_hash = \(Content.emptyHash) AS is_empty
                    FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id WHERE i.id = \(call.id)
                    """)[0]
                let (isEmpty, requestSize) = (try row["is_empty", as: Bool.self], try row["request_size", as: Int.self])
                #expect(isEmpty == (mode == .none))
                #expect(requestSize == (mode == .none ? 0 : call.body.readableBytes))
                let answerSize = try row["answer_size", as: Int.self]
                #expect((answerSize > 0) == (mode == .hashed))
            }
            #expect(try await gateway.audit.verify().problems == [])
            // The mode is on the record: nobody can say later that nothing was to be kept.
            try await stage.pool.execute("UPDATE ai_interceptions SET content_mode = 'none' WHERE content_mode = 'hashed'")
            #expect(
                try await gateway.audit.verify().problems.contains { $0.kind == .changed && $0.message.contains("interception") })
        }
    }
}
