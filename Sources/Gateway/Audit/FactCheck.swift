import AuditProof
import Core
import Foundation
import ModelAPI
import Postgres

/// Compares entries with the rows that they are about.
struct FactCheck {
    let connection: PostgresConnection
    let tombstones: TombstoneCheck

    func check(_ page: [AuditLink], _ report: inout AuditReport) async throws {
        let rows = try await RecordRows(connection: connection).read(page).mapValues { $0.mapValues(\.digest) }
        let removed = try await tombstones.covered(page.filter { rows[$0.kind]?[$0.subject] == nil })
        for entry in page {
            guard let found = rows[entry.kind] else {
                report.add(
                    .changed, chain: entry.chain, n: entry.n, subject: entry.subject,
                    "The entry is of the unknown kind '\(entry.kind)'.")
                continue
            }
            let name = "\(entry.kind) \(entry.subject)"
            guard let digest = found[entry.subject] else {
                if removed.contains(entry.subject) {
                    report.removedByRetention += 1
                    continue
                }
                report.add(.removed, chain: entry.chain, n: entry.n, subject: entry.subject, "The row of \(name) is missing.")
                continue
            }
            if digest != entry.digest {
                report.add(.changed, chain: entry.chain, n: entry.n, subject: entry.subject, "The row of \(name) was changed.")
            }
        }
    }

    // MARK: What no entry tells of

    /// Rows that no entry is about, and rows that several are about.
    func checkUnrecorded(_ report: inout AuditReport) async throws {
        for (kind, subject, table) in [
            ("interception", "t.id::text", "ai_interceptions"),
            ("ledger", "t.interception_id::text || '/' || t.attempt", "ai_ledger"),
            ("attempt", "t.interception_id::text || '/' || t.attempt", "ai_attempts"), ("fact", "t.id::text", "audit_facts"),
            ("correction", "t.interception_id::text || '/' || t.attempt || '/' || t.n", "ai_corrections"),
            ("finding", "t.call_id::text || '/' || t.phase || '/' || t.n", "ai_findings"), ("tool", "t.id::text", "ai_mcp_calls"),
            ("tool_result", "t.call_id::text", "ai_mcp_results"),
        ] {
            let rows = try await connection.query(
                """
                SELECT \(unsafeSQL: subject) AS subject FROM \(unsafeSQL: table) t
                WHERE NOT EXISTS (SELECT FROM audit_entries e WHERE e.kind = \(kind) AND e.subject = \(unsafeSQL: subject)) LIMIT 1001
                """)
            for row in rows {
                let subject = try row["subject", as: String.self]
                report.add(.inserted, subject: subject, "The row of \(kind) \(subject) has no audit entry: it was put in.")
            }
        }
        let twice = try await connection.query(
            "SELECT kind, subject, count(*) AS times FROM audit_entries GROUP BY kind, subject HAVING count(*) > 1 LIMIT 1001")
        for row in twice {
            let subject = try row["subject", as: String.self]
            report.add(
                .inserted, subject: subject,
                "\(try row["kind", as: String.self]) \(subject) has \(try row["times", as: Int.self]) audit entries.")
        }
    }

    /// A price's id is the hash of what it says.
    func checkPrices(_ report: inout AuditReport) async throws {
        let rows = try await connection.query(
            "SELECT id, organization_id, provider_type, model, valid_from, valid_to, price FROM ai_prices")
        for row in rows {
            let id = try row["id", as: String.self]
            let type = ProviderType(rawValue: try row["provider_type"])
            let price = try type.map {
                try ModelPrice(
                    providerType: $0, model: row["model"], validFrom: row["valid_from"], validTo: row["valid_to"],
                    organization: row["organization_id"], body: row["price", as: JSON<ModelPrice.Body>.self].value)
            }
            if price?.id != id {
                report.add(.changed, subject: id, "The price \(id) of \(try row["model", as: String.self]) was changed.")
            }
        }
        let missing = try await connection.query(
            "SELECT DISTINCT price_id FROM ai_ledger l WHERE NOT EXISTS (SELECT FROM ai_prices p WHERE p.id = l.price_id) LIMIT 100"
        )
        for row in missing {
            let id = try row["price_id", as: String.self]
            report.add(.removed, subject: id, "The price \(id), which ledger rows name, is missing.")
        }
    }

    /// What budgets say must be what ledger and holds add up to.
    func checkBudgets(_ report: inout AuditReport) async throws {
        let rows = try await connection.query(
            """
            SELECT b.id, coalesce(b.user_id::text, 'rule ' || b.rule_id) AS subject, b.period::text AS period, b.spent, b.held, coalesce(l.cost, 0)::bigint AS booked,
                   coalesce(h.amount, 0)::bigint AS holds
            FROM ai_budgets b
            LEFT JOIN (
                SELECT id, sum(cost) AS cost
                FROM (SELECT cost, budget_ids FROM ai_ledger UNION ALL SELECT amount, budget_ids FROM ai_corrections UNION ALL
                      SELECT cost, budget_ids FROM audit_tombstones WHERE what = 'ledger') booked,
                     unnest(budget_ids) AS id GROUP BY id) l ON l.id = b.id
            LEFT JOIN (SELECT id, sum(amount) AS amount FROM ai_holds, unnest(budget_ids) AS id GROUP BY id) h ON h.id = b.id
            WHERE b.spent <> coalesce(l.cost, 0) OR b.held <> coalesce(h.amount, 0) LIMIT 1001
            """)
        for row in rows {
            let (spent, booked) = (try row["spent", as: NanoDollars.self], try row["booked", as: NanoDollars.self])
            let (held, holds) = (try row["held", as: NanoDollars.self], try row["holds", as: NanoDollars.self])
            report.add(
                .budget, subject: try row["subject"],
                "The budget of \(try row["period", as: String.self].prefix(7)) says \(spent) spent and \(held) held; its ledger says \(booked), its holds \(holds)."
            )
        }
    }
}
