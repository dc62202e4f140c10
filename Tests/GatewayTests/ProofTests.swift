import AuditProof
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// What can be checked from files alone.
@Suite struct ProofTests {
    private func scene(_ body: (Stage, Gateway, GatewayCall) async throws -> Void) async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.setCap("5", gateway)
                try await gateway.modelPolicies.put(stage.user, name: "all", models: ["*"], roles: [], users: [])
                var calls: [GatewayCall] = []
                for number in 0..<4 {
                    let call = stage.call(Stage.messages("prompt \(number)"))
                    _ = await gateway.call(call).text()
                    calls.append(call)
                }
                await gateway.settle.idle()
                await gateway.content.idle()
                try await body(stage, gateway, calls[1])
            }
        }
    }

    private func export(_ gateway: Gateway) async throws -> [String] {
        var text = ""
        try await gateway.audit.export.run { text += $0 }
        return text.split(separator: "\n").map(String.init)
    }

    private func verify(_ lines: [String], anchor: AuditAnchor? = nil) throws -> AuditReport {
        var check = ExportCheck(anchor: anchor)
        for line in lines { try check.add(line: Data(line.utf8)) }
        return check.finish()
    }

    @Test func `an exported record verifies without the server, and whatever is changed in it is named`() async throws {
        try await scene { stage, gateway, _ in
            _ = try await gateway.checkpoints.makeIfNeeded()
            let lines = try await export(gateway)
            let live = try await gateway.audit.verify()
            let report = try verify(lines, anchor: try await gateway.audit.anchor())
            #expect(report.problems == [] && report.entries == live.entries && report.checkpoints == live.checkpoints)
            #expect(!lines.joined().contains("prompt 1"))
            func index(_ part: String) throws -> Int { try #require(lines.firstIndex { $0.contains(part) }) }
            let call = try index(#""form":"interception-2""#)
            let booking = try index(#""form":"ledger-3""#)
            for (change, kind, part) in [
                ({ $0[call].replace(#""model":"test-model""#, with: #""model":"cheap-model""#) }, .changed, "was changed"),
                ({ $0[booking].replace(/"cost":[0-9]+/, with: "\"cost\":1") }, .changed, "was changed"),
                ({ $0[call].replace(/"hold":[0-9]+/, with: "\"hold\":null") }, .changed, "was changed"),
                ({ $0.remove(at: call) }, .removed, "missing from the chain"),
                ({ $0.swapAt(call, call + 1) }, .reordered, "is out of order"),
                ({ $0.insert($0[call], at: call + 1) }, .inserted, "is there twice"),
                ({ $0[call] = String($0[call].dropLast(9)) }, .changed, "Line \(call + 1) is no line of an exported"),
                ({ $0.removeLast(3) }, .removed, "The file has no end"),
                ({ $0[1].replace(/"signature":"../, with: "\"signature\":\"00") }, .checkpoint, "not genuine"),
                ({ $0[call].replace(/"record":\{.*\},"subject"/, with: "\"record\":null,\"subject\"") }, .removed, "The row of"),
            ] as [((inout [String]) -> Void, AuditReport.Problem.Kind, String)] {
                var tampered = lines
                change(&tampered)
                #expect(tampered != lines)
                let problems = try verify(tampered).problems
                #expect(problems.contains { $0.kind == kind && $0.message.contains(part) }, "\(part): \(problems)")
            }
            #expect(throws: AppError.self) { try verify(["{}"]) }
            var swapped = lines
            swapped.swapAt(call, call + 1)
            #expect(try !verify(swapped).problems.contains { $0.kind == .removed })
        }
    }

    @Test func `a ledger row whose tier was put on record under the first form's name is still the row on record`() async throws {
        try await scene { stage, gateway, call in
            try await stage.pool.withConnection { connection in
                let rows = try await connection.query(
                    """
                    SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                    WHERE kind = 'ledger' AND subject = \(call.id.description + "/1")
                    """)
                var link = try AuditLink(try #require(rows.first))
                // As rows were before the time of their first token was recorded.
                try await connection.execute("UPDATE ai_interceptions SET first_token_ms = NULL WHERE id = \(call.id)")
                func row() async throws -> Canonical {
                    try #require(try await RecordRows(connection: connection).read([link])["ledger"]?[link.subject])
                }
                let now = try AuditRecord(try await row())
                #expect(now.form == "ledger-2" && now.values["service_tier"] == .text("standard"))
                var first = now
                first.form = "ledger-1"
                link.digest = try first.canonical().digest
                #expect(try await row().digest == link.digest)
                #expect(try AuditRecord(try await row()) == first)
                let file = try JSONEncoder().encode(first)
                #expect(try JSONDecoder().decode(AuditRecord.self, from: file) == first)
                link.digest = Data(count: 32)
                #expect(try await AuditRecord(row()) == now)
            }
        }
    }

    @Test func `an export says what retention removed, and only that may be missing`() async throws {
        try await scene { stage, gateway, _ in
            _ = try await gateway.rules.set(stage.user, contentDays: nil, recordDays: 30)
            try await gateway.retention.sweep(now: Date().addingTimeInterval(40 * 86_400))
            _ = try await gateway.checkpoints.makeIfNeeded()
            let lines = try await export(gateway)
            let report = try verify(lines)
            #expect(report.problems == [] && report.removedByRetention == 12)
            let tampered = lines.map { $0.contains("\"tombstones\"") ? $0.replacing(/"cost":[0-9]+/, with: "\"cost\":7") : $0 }
            #expect(tampered != lines)
            let problems = try verify(tampered).problems
            #expect(problems.contains { $0.message.contains("is not what it put on record") }, "\(problems)")
            #expect(problems.contains { $0.kind == .removed && $0.message.contains("The row of ledger") })
        }
    }

    @Test func `a call is proved from its rows to a signed checkpoint, and a changed row fails by name`() async throws {
        try await scene { stage, gateway, call in
            func proof() async throws -> AuditProofFile {
                let made = try await gateway.prover.prove(stage.user, call.id)
                return try JSONDecoder().decode(AuditProofFile.self, from: JSONEncoder().encode(made))
            }
            let good = try await proof()
            let verdict = good.check()
            #expect(verdict.problems == [] && verdict.proved.count == 2)
            let keys = Set(try await gateway.audit.anchor().checkpoints.map(\.publicKey))
            #expect(good.check(trusted: keys).problems == [])
            #expect(good.check(trusted: [Data(count: 32)]).problems.contains { $0.contains("does not know") })

            var other = good
            other.interception = InterceptionID().description
            #expect(other.check().problems.contains { $0.contains("another call") })
            var cut = good
            cut.items[0].path.removeLast()
            #expect(cut.check().problems.contains { $0.contains("do not lead") || $0.contains("no entries") })
            var moved = good
            moved.items[0].n += 1
            #expect(!moved.check().problems.isEmpty)
            var without = good
            without.checkpoints = []
            #expect(without.check().problems.contains { $0.contains("missing or not genuine") })
            var richer = good
            richer.items[1].record.values["cost"] = .number(1)
            #expect(richer.check().problems == ["The row of ledger \(call.id)/1 was changed."])

            // In the database, behind the server's back.
            try await stage.pool.execute("UPDATE ai_interceptions SET model = 'other' WHERE id = \(call.id)")
            #expect(try await proof().check().problems == ["The row of interception \(call.id) was changed."])
            try await stage.pool.execute("UPDATE ai_interceptions SET model = 'test-model' WHERE id = \(call.id)")
            #expect(try await proof().check().problems == [])
            await #expect(throws: AppError.self) { try await gateway.prover.prove(stage.user, InterceptionID()) }
        }
    }

    @Test func `canonical bytes are read back as they were written`() throws {
        var canonical = Canonical("fact-1")
        let id = UUID()
        canonical.add(id)
        canonical.add(UUID())
        canonical.add(UUID?.none)
        canonical.add("a kind\u{0}")
        canonical.add("")
        canonical.add("{}")
        canonical.add(Int64.min)
        let record = try AuditRecord(canonical)
        #expect(record.values["id"] == .id(id) && record.values["actor_id"] == AuditRecord.Value.none)
        #expect(record.values["at"] == .number(.min) && record.subject == id.uuidString.lowercased())
        #expect(try record.canonical().bytes == canonical.bytes)
        let again = try JSONDecoder().decode(AuditRecord.self, from: JSONEncoder().encode(record))
        #expect(again == record)
        canonical.add(true)
        #expect(throws: AppError.self) { try AuditRecord(canonical) }
        #expect(throws: AppError.self) { try AuditRecord(Canonical("fact-9")) }
    }
}
