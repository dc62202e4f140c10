import AuditProof
import Core
import Foundation
import Postgres

/// One transaction of a sweep: looks at the calls that follow, oldest first, and removes what may go.
struct RetentionBatch: Sendable {
    let organization: OrganizationID
    /// `content`, or `interception` for the whole record of a call.
    let what: Tombstone.What
    let days: Int
    let now: Date?

    /// - Returns: how many calls were removed, and whether none is left to look at.
    func run(_ connection: PostgresConnection) async throws -> ((Int, Bool), [AuditFacts.Fact]) {
        let mine = try await connection.query("SELECT pg_try_advisory_xact_lock(\(Self.lock)) AS is_mine")[0]
        // Another server does it.
        guard try mine["is_mine", as: Bool.self] else { return ((0, true), []) }
        let swept = what == .content ? "content_swept" : "record_swept"
        let looked = try await connection.query(
            """
            SELECT i.id, i.started_at, i.status <> 'open' AND NOT \(unsafeSQL: LegalHold.condition) AS may_go,
                   EXISTS (SELECT FROM ai_contents c WHERE c.interception_id = i.id)
                   OR EXISTS (SELECT FROM ai_user_prompts p WHERE p.interception_id = i.id)
                   OR EXISTS (SELECT FROM ai_tool_usages t WHERE t.interception_id = i.id) AS has_content
            FROM audit_rules r JOIN ai_interceptions i ON i.organization_id = r.organization_id
            WHERE r.organization_id = \(organization)
              AND (i.started_at, i.id) > (r.\(unsafeSQL: swept), r.\(unsafeSQL: swept)_id)
              AND i.started_at < coalesce(\(now)::timestamptz, now()) - \(days)::int * interval '1 day'
            ORDER BY i.started_at, i.id LIMIT \(Retention.batchSize)
            """)
        guard let last = looked.last else { return ((0, true), []) }
        try await connection.execute(
            """
            UPDATE audit_rules SET \(unsafeSQL: swept) = \(try last["started_at", as: Date.self]),
                   \(unsafeSQL: swept)_id = \(try last["id", as: UUID.self])
            WHERE organization_id = \(organization)
            """)
        let going = try looked.filter { try $0["may_go", as: Bool.self] && (what != .content || $0["has_content", as: Bool.self]) }
        let isLast = looked.count < Retention.batchSize
        if going.isEmpty { return ((0, isLast), []) }
        let ids = try going.map { try $0["id", as: UUID.self] }
        var stones = try going.filter { try $0["has_content", as: Bool.self] }
            .map { Tombstone(.content, try $0["id", as: InterceptionID.self].description) }
        if what == .interception {
            // A correction names the ledger row that it corrects: such calls stay on record, without their content.
            let corrected = try await connection.query(
                "SELECT DISTINCT interception_id FROM ai_corrections WHERE interception_id = ANY(\(ids))")
            let staying = Set(try corrected.map { try $0["interception_id", as: UUID.self] })
            stones += try await records(connection, ids.filter { !staying.contains($0) })
        }
        for table in ["ai_contents", "ai_user_prompts", "ai_tool_usages", "ai_tool_results", "ai_texts"] {
            try await connection.execute("DELETE FROM \(unsafeSQL: table) WHERE interception_id = ANY(\(ids))")
        }
        let fact = try AuditFacts.Fact(
            organization: organization, actor: nil, kind: what == .content ? "retention.content" : "retention.record",
            subject: "\(ids.count) calls",
            ["calls": "\(ids.count)", "days": "\(days)", "digest": Tombstone.digest(stones).hex])
        try await connection.execute(Tombstone.insert(stones, fact: fact))
        return ((ids.count, isLast), [fact])
    }

    private static let lock: Int64 = 0x736C_6970_7265_746E

    private func records(_ connection: PostgresConnection, _ ids: [UUID]) async throws -> [Tombstone] {
        let booked = try await connection.query(
            """
            DELETE FROM ai_ledger WHERE interception_id = ANY(\(ids)) RETURNING interception_id, attempt, budget_ids, cost
            """
        ).map { row in
            Tombstone(
                .ledger, "\(try row["interception_id", as: InterceptionID.self])/\(try row["attempt", as: Int.self])",
                budgets: try row["budget_ids"], cost: try row["cost", as: Int64.self])
        }
        let attempts = try await connection.query(
            "DELETE FROM ai_attempts WHERE interception_id = ANY(\(ids)) RETURNING interception_id, attempt"
        ).map { row in
            Tombstone(.attempt, "\(try row["interception_id", as: InterceptionID.self])/\(try row["attempt", as: Int.self])")
        }
        try await connection.execute("DELETE FROM ai_interceptions WHERE id = ANY(\(ids))")
        return ids.map { Tombstone(.interception, InterceptionID($0).description) } + booked + attempts
    }
}
