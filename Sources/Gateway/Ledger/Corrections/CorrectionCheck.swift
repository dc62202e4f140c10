import AuditProof
import Core
import Foundation
import Postgres

/// What the verifier looks at in corrections: each row against its audit entry, and that a row's corrections follow each other from
/// what the ledger booked.
extension RecordRows {
    /// By subject.
    func corrections(_ subjects: [String]) async throws -> [String: Canonical] {
        if subjects.isEmpty { return [:] }
        let ids = subjects.compactMap { UUID(uuidString: String($0.prefix { $0 != "/" })) }
        let rows = try await connection.query(
            "SELECT *, \(unsafeSQL: microseconds("at")) AS written FROM ai_corrections WHERE interception_id = ANY(\(ids))")
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let id = try row["interception_id", as: InterceptionID.self]
                let (attempt, n) = (try row["attempt", as: Int.self], try row["n", as: Int.self])
                let canonical = Correction.canonical(
                    interception: id, attempt: attempt, n: n, run: try row["run_id"], organization: try row["organization_id"],
                    actor: try row["actor_id"], user: try row["user_id"], budgets: try row["budget_ids"],
                    provider: try row["provider"], model: try row["model"], before: try row["cost_before"],
                    after: try row["cost_after"], price: try row["price_id"], at: try row["written"])
                return ("\(id)/\(attempt)/\(n)", canonical)
            })
    }
}

extension FactCheck {
    func checkCorrections(_ report: inout AuditReport) async throws {
        let rows = try await connection.query(
            """
            SELECT c.interception_id::text || '/' || c.attempt || '/' || c.n AS subject
            FROM (SELECT *, lag(cost_after) OVER (PARTITION BY interception_id, attempt ORDER BY n) AS last,
                         row_number() OVER (PARTITION BY interception_id, attempt ORDER BY n) AS place FROM ai_corrections) c
            LEFT JOIN ai_ledger l ON l.interception_id = c.interception_id AND l.attempt = c.attempt
            WHERE c.n <> c.place OR c.cost_before IS DISTINCT FROM coalesce(c.last, l.cost)
               OR NOT EXISTS (SELECT FROM ai_prices p WHERE p.id = c.price_id) LIMIT 1001
            """)
        for row in rows {
            let subject = try row["subject", as: String.self]
            report.add(
                .changed, subject: subject,
                "The correction \(subject) does not begin where the ledger or the correction before it ended, or its price is missing."
            )
        }
    }
}
