import AuditProof
import Core
import Foundation
import Postgres

/// Believes a tombstone only where the fact of its batch says the same of all of the batch.
struct TombstoneCheck {
    let connection: PostgresConnection
    private var sound: [UUID] = []

    init(connection: PostgresConnection) { self.connection = connection }

    /// Compares every batch with its fact.
    func checked(_ report: inout AuditReport) async throws -> TombstoneCheck {
        var check = self
        var last = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        while true {
            let page = try await connection.query(
                "SELECT id, body FROM audit_facts WHERE kind LIKE 'retention.%' AND id > \(last) ORDER BY id LIMIT 500")
            for row in page {
                let id = try row["id", as: UUID.self]
                last = id
                let stones = try await connection.query(
                    "SELECT what, subject, budget_ids, cost FROM audit_tombstones WHERE fact_id = \(id) ORDER BY n"
                ).map(Tombstone.init)
                let body = try row["body", as: String.self]
                let details = try? JSONDecoder().decode([String: String].self, from: Data(body.utf8))
                if details?["digest"] == Tombstone.digest(stones).hex {
                    check.sound.append(id)
                    report.removedByRetention += Int64(stones.count { $0.what == .content })
                } else {
                    report.add(
                        .changed, subject: id.uuidString.lowercased(),
                        "What retention removed in \(id.uuidString.lowercased()) is not what it put on record.")
                }
            }
            if page.count < 500 { return check }
        }
    }

    /// The subjects of those entries whose rows were removed, on record.
    func covered(_ entries: [AuditLink]) async throws -> Set<String> {
        if entries.isEmpty || sound.isEmpty { return [] }
        let rows = try await connection.query(
            """
            SELECT subject FROM audit_tombstones
            WHERE what <> 'content' AND subject = ANY(\(entries.map(\.subject))) AND fact_id = ANY(\(sound))
            """)
        return Set(try rows.map { try $0["subject", as: String.self] })
    }
}
