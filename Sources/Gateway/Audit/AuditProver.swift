import AuditProof
import Core
import Foundation
import Postgres

/// Makes the proof of one call: from its rows, as they are now, to signed heads.
package struct AuditProver: Sendable {
    let pool: PostgresPool
    let checkpoints: Checkpoints

    /// - Throws: `notFound` for a call that is not on record in this organization, or whose record was removed.
    package func prove(_ principal: Principal, _ id: InterceptionID) async throws -> AuditProofFile {
        // So that also what happened just now is signed.
        try await checkpoints.makeIfNeeded()
        return try await pool.withSnapshot { connection in
            let isThere = try await !connection.query(
                "SELECT FROM ai_interceptions WHERE id = \(id) AND organization_id = \(principal.organization)"
            ).isEmpty
            guard isThere else { throw AppError(.notFound, "There is no model call \(id).", field: "interception") }
            let links = try await entries(connection, id)
            let rows = try await RecordRows(connection: connection).read(links)
            var items: [AuditProofFile.Item] = []
            var points: [Int64: Checkpoint] = [:]
            for link in links {
                guard let row = rows[link.kind]?[link.subject], let record = try? AuditRecord(row) else {
                    throw AppError(.notFound, "The row of \(link.kind) \(link.subject) is missing, so nothing can be proved of it.")
                }
                let (point, head) = try await signed(connection, link)
                points[point.number] = point
                let path = try await connection.query(
                    """
                    SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                    WHERE chain = \(link.chain) AND n BETWEEN \(link.n) AND \(head) ORDER BY n
                    """
                ).map { AuditProofFile.Step(try AuditLink($0)) }
                items.append(
                    .init(chain: link.chain, n: link.n, prev: link.prev, record: record, path: path, checkpoint: point.number))
            }
            return AuditProofFile(
                interception: id.description, items: items, checkpoints: points.values.sorted { $0.number < $1.number })
        }
    }

    /// The call's own entry, then those of its attempts and its ledger row. They are looked for by their times, which are the rows'; an entry whose row
    /// was given another time is found the slow way.
    private func entries(_ connection: PostgresConnection, _ id: InterceptionID) async throws -> [AuditLink] {
        func find(_ times: Query) async throws -> [AuditLink] {
            try await connection.query(
                """
                SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                WHERE \(times) AND (kind = 'interception' AND subject = \(id.description)
                                    OR kind IN ('ledger', 'attempt') AND starts_with(subject, \(id.description + "/")))
                ORDER BY kind <> 'interception', kind, subject
                """
            ).map { try AuditLink($0) }
        }
        let times = try await connection.query(
            """
            SELECT \(unsafeSQL: microseconds("started_at")) AS at, 1 AS n FROM ai_interceptions WHERE id = \(id)
            UNION ALL SELECT \(unsafeSQL: microseconds("settled_at")), 1 FROM ai_ledger WHERE interception_id = \(id)
            UNION ALL SELECT \(unsafeSQL: microseconds("at")), 1 FROM ai_attempts WHERE interception_id = \(id)
            """
        ).map { try $0["at", as: Int64.self] }
        let found = try await find("at = ANY(\(times))")
        return found.count == times.count ? found : try await find("true")
    }

    /// The first checkpoint that signs the chain behind the entry.
    private func signed(_ connection: PostgresConnection, _ link: AuditLink) async throws -> (Checkpoint, head: Int64) {
        let before = try await connection.query(
            """
            SELECT coalesce(max(number), 0)::bigint AS number FROM audit_checkpoints
            WHERE at < 'epoch'::timestamptz + \(link.at - 60_000_000)::bigint * interval '1 microsecond'
            """)[0]["number", as: Int64.self]
        var after = before
        while true {
            let page = try await AuditStore.checkpoints(connection, after: after, limit: 100, newestFirst: false)
            for point in page {
                if let head = point.heads.first(where: { $0.chain == link.chain && $0.n >= link.n }) { return (point, head.n) }
            }
            guard let last = page.last else {
                throw AppError(
                    .unavailable, "\(link.kind) \(link.subject) is not signed yet; checkpoints are made every 10 seconds.",
                    retry: .after(.seconds(10)))
            }
            after = last.number
        }
    }
}
