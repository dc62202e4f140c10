import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// What must agree once nothing is under way: answers, interceptions, ledger, budgets and the audit chain.
struct Books {
    let pool: PostgresPool

    /// Holds that are left are settled within seconds, by the server that made the call or by another.
    func settled(within limit: Duration = .seconds(40)) async throws {
        let isSettled: Void? = try? await eventually(within: limit) {
            let open = try? await pool.query(
                "SELECT (SELECT count(*) FROM ai_holds) + (SELECT count(*) FROM ai_interceptions WHERE status = 'open') AS n")
            return try open?.first?["n", as: Int64.self] == 0
        }
        if isSettled != nil { return }
        let rows = try await pool.query(
            """
            SELECT i.id::text AS id, i.status, h.amount, i.replica_id = h.replica_id AS own
            FROM ai_interceptions i LEFT JOIN ai_holds h ON h.interception_id = i.id
            WHERE i.status = 'open' OR h.amount IS NOT NULL LIMIT 5
            """)
        Issue.record("calls were not settled within \(limit): \(rows)")
    }

    /// - Parameter answered: the interceptions whose whole answer a client has.
    func check(answered: [String] = [], _ location: SourceLocation = #_sourceLocation) async throws {
        try await settled()
        let books = try await pool.query(
            """
            SELECT (SELECT count(*) FROM ai_interceptions WHERE status <> 'refused') AS calls,
                   (SELECT count(DISTINCT interception_id) FROM ai_ledger) AS settled, (SELECT count(*) FROM ai_ledger) AS rows,
                   (SELECT coalesce(sum(cost), 0)::bigint FROM ai_ledger) AS cost,
                   (SELECT coalesce(sum(spent), 0)::bigint FROM ai_budgets) AS spent,
                   (SELECT coalesce(sum(held), 0)::bigint FROM ai_budgets) AS held,
                   (SELECT count(*) FROM ai_budgets b JOIN ai_budget_caps c ON c.user_id = b.user_id WHERE b.spent > c.cap) AS over
            """)[0]
        #expect(try books["held", as: Int64.self] == 0, sourceLocation: location)
        #expect(try books["spent", as: Int64.self] == (try books["cost", as: Int64.self]), sourceLocation: location)
        #expect(try books["calls", as: Int64.self] == (try books["settled", as: Int64.self]), sourceLocation: location)
        #expect(try books["rows", as: Int64.self] == (try books["settled", as: Int64.self]), sourceLocation: location)
        #expect(try books["over", as: Int64.self] == 0, sourceLocation: location)
        let known = Set(
            try await pool.query(
                "SELECT i.id::text AS id FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id WHERE i.status = 'completed'"
            ).map { try $0["id", as: String.self] })
        let lost = answered.filter { !known.contains($0.lowercased()) }
        #expect(lost.isEmpty, "answers that are not on record", sourceLocation: location)
    }

    /// By the server itself, as `slipway audit verify` has it done.
    func verify(_ client: Client, _ location: SourceLocation = #_sourceLocation) async throws {
        let answer = try await client.post(APIPaths.audit + "/verify", VerifyAuditRequest())
        let verdict = try? answer.json(AuditVerification.self)
        #expect(verdict?.ok == true, "\(answer.status) \(answer.text)", sourceLocation: location)
    }
}
