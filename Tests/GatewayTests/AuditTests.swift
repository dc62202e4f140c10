import AuditProof
import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct AuditTests {
    /// A database with five calls with tools and prompts, two facts and a checkpoint, and then `tamper`.
    private func afterTampering(
        anchored: Bool = false, _ statements: [String], _ check: (AuditReport) throws -> Void
    ) async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await fill(stage, gateway)
                _ = try #require(try await gateway.checkpoints.makeIfNeeded())
                #expect(try await gateway.audit.verify().problems == [])
                let anchor = anchored ? try AuditAnchor(text: try await gateway.audit.anchor().text) : nil
                for statement in statements { try await stage.pool.execute(Query(unsafeSQL: statement)) }
                try check(try await gateway.audit.verify(anchor: anchor))
            }
        }
    }

    private func fill(_ stage: Stage, _ gateway: Gateway) async throws {
        try await stage.setCap("5", gateway)
        try await gateway.modelPolicies.put(stage.user, name: "all", models: ["*"], roles: [], users: [])
        for number in 0..<5 {
            let body =
                #"{"model":"test-model","max_tokens":300,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t\#(number)","content":"done"},{"type":"text","text":"prompt \#(number)"}]}]}"#
            _ = await gateway.call(stage.call(body)).text()
        }
        try await eventually { try await stage.count("ai_ledger") == 5 }
        await gateway.settle.idle()
        await gateway.content.idle()
    }

    private static let chain = "(SELECT chain FROM audit_entries WHERE kind = 'interception' LIMIT 1)"
    private static let ledgerChain = "(SELECT chain FROM audit_entries WHERE kind = 'ledger' LIMIT 1)"
    private static let oneCall = "(SELECT id FROM ai_interceptions ORDER BY id LIMIT 1)"

    /// They did once, in two orders: a deadlock that failed the calls of that moment.
    @Test func `a checkpoint and the flush that answers wait for do not wait for each other`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await fill(stage, gateway)
                try await stage.pool.withTransaction { connection in
                    try await connection.execute("UPDATE audit_chains SET flushed = flushed")
                    try await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '20s'")
                    #expect(try await gateway.checkpoints.makeIfNeeded() != nil)
                }
            }
        }
    }

    @Test func `a changed row of any kind is named`() async throws {
        for (statement, kind, part) in [
            (
                "UPDATE ai_interceptions SET model = 'other' WHERE id = \(Self.oneCall)", AuditReport.Problem.Kind.changed,
                "interception"
            ),
            ("UPDATE ai_interceptions SET initiator_id = gen_random_uuid() WHERE id = \(Self.oneCall)", .changed, "interception"),
            (
                "UPDATE ai_interceptions SET started_at = started_at - interval '1 microsecond' WHERE id = \(Self.oneCall)",
                .changed, "interception"
            ),
            ("UPDATE ai_interceptions SET status = 'failed' WHERE id = \(Self.oneCall)", .changed, "ledger"),
            ("UPDATE ai_interceptions SET ended_at = ended_at + interval '1 hour' WHERE id = \(Self.oneCall)", .changed, "ledger"),
            ("UPDATE ai_ledger SET output_tokens = 4 WHERE interception_id = \(Self.oneCall)", .changed, "ledger"),
            ("UPDATE ai_ledger SET price_id = 'x' WHERE interception_id = \(Self.oneCall)", .changed, "ledger"),
            ("UPDATE audit_facts SET body = replace(body, '5000000000', '6000000000') WHERE kind = 'budget.set'", .changed, "fact"),
            (
                "UPDATE ai_prices SET price = jsonb_set(price, '{maxOutputTokens}', '1') WHERE provider_type = 'openai'", .changed,
                "price"
            ),
            ("UPDATE ai_budgets SET spent = 0", .budget, "says $0.00 spent"),
            ("UPDATE ai_user_prompts SET prompt = 'innocent' WHERE interception_id = \(Self.oneCall)", .content, "prompt"),
            ("UPDATE ai_tool_results SET result = 'failed' WHERE interception_id = \(Self.oneCall)", .content, "tool results"),
            ("UPDATE ai_chunks SET data = data || '\\x20'::bytea WHERE encoding = 0", .content, "was changed"),
        ] {
            try await afterTampering([statement]) { report in
                #expect(
                    report.problems.contains { $0.kind == kind && $0.message.contains(part) }, "\(statement): \(report.problems)")
            }
        }
    }

    @Test func `removed rows and entries are named`() async throws {
        for (statements, part) in [
            (["DELETE FROM ai_ledger WHERE interception_id = \(Self.oneCall)"], "is missing"),
            (["DELETE FROM audit_facts WHERE kind = 'policy.put'"], "is missing"),
            (["DELETE FROM audit_entries WHERE chain = \(Self.chain) AND n = 3"], "Entry 3 is missing"),
            // The tail, with its rows: only the checkpoint tells.
            (
                [
                    "DELETE FROM ai_ledger WHERE interception_id || '/1' IN (SELECT subject FROM audit_entries WHERE chain = \(Self.ledgerChain) AND n = 5)",
                    "DELETE FROM audit_entries WHERE chain = \(Self.ledgerChain) AND n = 5",
                ], "ends with entry 4, but its entries up to 5 were signed"
            ),
            (["DELETE FROM audit_entries WHERE chain = \(Self.ledgerChain)"], "The whole chain is missing"),
        ] {
            try await afterTampering(statements) { report in
                #expect(
                    report.problems.contains { $0.kind == .removed && $0.message.contains(part) },
                    "\(statements): \(report.problems)")
            }
        }
    }

    @Test func `inserted rows and entries are named`() async throws {
        let columns =
            "interception_id, attempt, organization_id, user_id, budget_ids, provider, model, state, input_tokens, cache_read_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, web_searches, ttl_unknown, hold, cost, price_id, answer_hash, answer_size, tools_hash, settled_at"
        let copy = columns.replacing("attempt", with: "2")
        // Whoever can write there can take the rule away first.
        try await afterTampering([
            "DROP INDEX ai_ledger_interception",
            "INSERT INTO ai_ledger (\(columns)) SELECT \(copy) FROM ai_ledger WHERE interception_id = \(Self.oneCall)",
        ]) {
            report in
            #expect(
                report.problems.contains { $0.kind == .inserted && $0.message.contains("no audit entry") }, "\(report.problems)")
        }
        // An entry in the middle, the others moved up.
        try await afterTampering([
            "UPDATE audit_entries SET n = n + 1000 WHERE chain = \(Self.chain) AND n >= 3",
            "UPDATE audit_entries SET n = n - 999 WHERE chain = \(Self.chain) AND n >= 1000",
            "INSERT INTO audit_entries SELECT chain, 3, prev, digest, kind, subject, at FROM audit_entries WHERE chain = \(Self.chain) AND n = 2",
        ]) { report in
            #expect(report.problems.contains { $0.kind == .inserted || $0.kind == .changed || $0.kind == .reordered })
            #expect(report.problems.contains { $0.message.contains("2 audit entries") }, "\(report.problems)")
        }
    }

    @Test func `reordered entries are named`() async throws {
        try await afterTampering([
            "UPDATE audit_entries SET n = 1000 WHERE chain = \(Self.chain) AND n = 2",
            "UPDATE audit_entries SET n = 2 WHERE chain = \(Self.chain) AND n = 3",
            "UPDATE audit_entries SET n = 3 WHERE chain = \(Self.chain) AND n = 1000",
        ]) { report in
            #expect(
                report.problems.contains { $0.kind == .reordered && $0.message.contains("entry 3 belongs here") },
                "\(report.problems)")
        }
    }

    @Test func `content may be deleted, and the chain still holds`() async throws {
        try await afterTampering(["DELETE FROM ai_chunks"]) { report in
            #expect(report.problems == [] && report.deletedContents == 10)
        }
    }

    @Test func `checkpoints that were removed or signed anew are seen with the anchor`() async throws {
        try await afterTampering(["DELETE FROM audit_checkpoints"]) { report in
            // Without the anchor nobody can know.
            #expect(report.problems == [])
        }
        try await afterTampering(anchored: true, ["DELETE FROM audit_checkpoints"]) { report in
            #expect(report.problems.map(\.kind) == [.checkpoint])
        }
        try await afterTampering(["UPDATE audit_checkpoints SET body = body || ' '::bytea"]) { report in
            #expect(report.problems.contains { $0.kind == .checkpoint && $0.message.contains("not genuine") })
        }
        // The whole tail removed, together with the checkpoint that signed it.
        try await afterTampering(
            anchored: true,
            [
                "DELETE FROM ai_ledger WHERE interception_id || '/1' IN (SELECT subject FROM audit_entries WHERE chain = \(Self.ledgerChain) AND n = 5)",
                "DELETE FROM audit_entries WHERE chain = \(Self.ledgerChain) AND n = 5", "DELETE FROM audit_checkpoints",
            ]
        ) { report in
            #expect(report.problems.contains { $0.kind == .removed && $0.message.contains("were signed") }, "\(report.problems)")
        }
    }

    @Test func `a history that was signed anew with another key is seen with the anchor`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await fill(stage, gateway)
                let genuine = try #require(try await gateway.checkpoints.makeIfNeeded())
                let anchor = try AuditAnchor(text: try await gateway.audit.anchor().text)
                #expect(anchor.checkpoints.map(\.body) == [genuine.body])
                #expect(try await gateway.audit.verify(anchor: anchor).problems == [])
                let key = Curve25519.Signing.PrivateKey()
                let forged = try Checkpoint.signed(
                    JSONDecoder().decode(Checkpoint.Body.self, from: genuine.body), keyID: "forged", key: key)
                try await stage.pool.execute(
                    "INSERT INTO audit_signing_keys (id, public_key, sealed) VALUES ('forged', \(forged.publicKey), ''::bytea)")
                try await stage.pool.execute("UPDATE audit_checkpoints SET key_id = 'forged', signature = \(forged.signature)")
                #expect(try await gateway.audit.verify().problems == [])
                let report = try await gateway.audit.verify(anchor: anchor)
                #expect(report.problems.contains { $0.message.contains("signed anew") })
                #expect(report.problems.contains { $0.message.contains("does not know") })
            }
        }
        #expect(throws: AppError.self) { _ = try AuditAnchor(text: "rubbish") }
    }

    @Test func `checkpoints follow on each other, cover all replicas, and none is made when nothing grew`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    for gateway in [one, two, one] {
                        _ = await gateway.call(stage.call(Stage.messages())).text()
                        await gateway.settle.idle()
                        #expect(try await two.checkpoints.makeIfNeeded() != nil)
                    }
                    #expect(try await one.checkpoints.makeIfNeeded() == nil)
                    await one.content.idle()
                    await two.content.idle()
                    let report = try await one.audit.verify()
                    #expect(report.problems == [] && report.checkpoints == 3 && report.entries == 6 && report.chains.count == 4)
                    // Of all chains, also those that did not grow since the one before; and so does the migration count them.
                    let counted = try await one.audit.checkpoints(PageRequest()).items.map(\.entries)
                    #expect(counted == [6, 4, 2], "\(counted)")
                    try await stage.pool.execute("UPDATE audit_checkpoints SET entries = NULL")
                    try await stage.pool.migrateAgain(94)
                    #expect(try await one.audit.checkpoints(PageRequest()).items.map(\.entries) == counted)
                    let page = try await one.audit.entries(try PageRequest(limit: 4))
                    let rest = try await one.audit.entries(try PageRequest(limit: 4, after: page.next))
                    #expect(page.items.count == 4 && rest.items.count == 2 && rest.next == nil)
                    #expect(try await one.audit.checkpoints(try PageRequest(limit: 2)).items.map(\.number) == [3, 2])
                }
            }
        }
    }

    @Test func `nothing is linked to an entry that the database lost in a crash`() async throws {
        try await Stage.with { stage in
            let chain = AuditChain(.calls, replica: ReplicaID())
            func append() async throws {
                let draft = try await stage.pool.withTransaction { connection in
                    try await chain.prepare(connection)
                    let draft = try chain.draft([AuditEntry(.fact, subject: "x", digest: Data(repeating: 1, count: 32))], at: 1)
                    try await connection.execute(draft.insert)
                    return draft
                }
                chain.committed(draft)
            }
            for _ in 0..<3 { try await append() }
            try await stage.pool.execute("DELETE FROM audit_entries WHERE chain = \(chain.id) AND n = 3")
            let error = await #expect(throws: PostgresError.self) { try await append() }
            #expect(error.map { AuditChain.isBroken($0) } == true, "\(String(describing: error))")
            chain.doubt()
            try await append()
            let numbers = try await stage.pool.query("SELECT n FROM audit_entries WHERE chain = \(chain.id) ORDER BY n")
            #expect(try numbers.map { try $0["n", as: Int64.self] } == [1, 2, 3])
            #expect(chain.losses == 1)
        }
    }

    @Test func `settlements that the database lost in a crash are booked again`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                var isLost = false
                while !isLost {
                    _ = await gateway.call(stage.call(Stage.messages())).text()
                    await gateway.settle.idle()
                    await gateway.content.idle()
                    isLost = try await loseLastSettlement(stage)
                }
                let calls = try await stage.count("ai_interceptions")
                // Removed in one transaction, which the test made; the gateway may have noticed by now.
                try await eventually { try await stage.count("ai_ledger") == calls }
                let lines = try await stage.ledger()
                #expect(lines.allSatisfy { $0.state == "final" && $0.status == "completed" && $0.cost == NanoDollars(60_000) })
                #expect(try await gateway.budgets.show(stage.user, user: stage.user.user).spent.value == Int64(calls) * 60_000)
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.status == 200)
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    /// Does what a crash does to a commit that did not wait for the disk: the whole transaction is gone.
    ///
    /// - Returns: false when the newest settlement was on disk already.
    private func loseLastSettlement(_ stage: Stage) async throws -> Bool {
        try await stage.pool.withTransaction { connection in
            try await connection.execute("LOCK TABLE audit_entries IN ACCESS EXCLUSIVE MODE")
            let last = try await connection.query(
                """
                SELECT e.chain, e.n, e.subject, c.flushed FROM audit_entries e JOIN audit_chains c ON c.id = e.chain
                WHERE e.kind = 'ledger' ORDER BY e.n DESC LIMIT 1
                """)[0]
            let (n, chain) = (try last["n", as: Int64.self], try last["chain", as: UUID.self])
            if try last["flushed", as: Int64.self] >= n { return false }
            let id = try #require(InterceptionID(String(try last["subject", as: String.self].dropLast(2))))
            let row = try await connection.query("SELECT hold, cost, budget_ids FROM ai_ledger WHERE interception_id = \(id)")[0]
            let (hold, cost) = (try row["hold", as: NanoDollars.self], try row["cost", as: NanoDollars.self])
            let replica: UUID = try await connection.query("SELECT replica_id FROM ai_interceptions WHERE id = \(id)")[0][
                "replica_id"]
            try await connection.pipeline([
                "DELETE FROM audit_entries WHERE chain = \(chain) AND n = \(n)",
                "DELETE FROM ai_ledger WHERE interception_id = \(id)",
                "UPDATE ai_interceptions SET status = 'open', ended_at = NULL WHERE id = \(id)",
                """
                INSERT INTO ai_holds (interception_id, attempt, organization_id, budget_ids, amount, replica_id)
                VALUES (\(id), 1, \(Stage.organization), \(try row["budget_ids", as: [Int64].self]), \(hold), \(replica))
                """,
                "UPDATE ai_budgets SET spent = spent - \(cost), held = held + \(hold)",
            ])
            return true
        }
    }
}
