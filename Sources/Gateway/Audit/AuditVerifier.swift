import AuditProof
import Core
import Foundation
import Postgres

/// Re-derives every digest from the live rows, in one snapshot of the database, and names whatever is not as it was recorded.
///
/// It sees every change, removal, insertion and reordering up to the last checkpoint; with an anchor also checkpoints that were
/// removed or signed anew. What was never checkpointed and is removed from the end of a chain together with its rows leaves no trace.
struct AuditVerifier {
    let pool: PostgresPool
    let contents: ContentStore
    let anchor: AuditAnchor?

    private static let pageSize = 1000

    func run() async throws -> AuditReport {
        try await pool.withSnapshot { connection in
            var report = AuditReport()
            var walk = ChainWalk(heads: try await CheckpointCheck(anchor: anchor).run(connection, &report))
            let tombstones = try await TombstoneCheck(connection: connection).checked(&report)
            let facts = FactCheck(connection: connection, tombstones: tombstones)
            while true {
                let page = try await connection.query(
                    """
                    SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                    WHERE (chain, n) > (\(walk.place.chain), \(walk.place.n)) ORDER BY chain, n LIMIT \(Self.pageSize)
                    """
                ).map { try AuditLink($0) }
                if page.isEmpty { break }
                walk.walk(page, &report)
                try await facts.check(page, &report)
            }
            walk.finish(&report)
            try await facts.checkUnrecorded(&report)
            try await facts.checkPrices(&report)
            try await facts.checkBudgets(&report)
            try await facts.checkCorrections(&report)
            try await IdentityCheck(connection: connection).run(&report)
            try await PolicyCheck(connection: connection).run(&report)
            try await ContentCheck(connection: connection).run(&report)
            return report
        }
    }
}
