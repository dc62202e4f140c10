import AuditProof
import Core
import Foundation
import Postgres

/// The whole record as lines that can be verified without the server.
///
/// What is on record does not change, so no transaction is held open while somebody reads: checkpoints first, then each chain as far
/// as it stood, then what retention removed, also meanwhile.
package struct AuditExport: Sendable {
    let pool: PostgresPool

    private static let pageSize = 500

    /// - Parameter write: takes some lines; waits until they have been taken.
    package func run(_ write: (String) async throws -> Void) async throws {
        let now = try await pool.query("SELECT \(unsafeSQL: microseconds("now()")) AS now")[0]["now", as: Int64.self]
        try await write(try ExportLine.header(at: now).text())
        let points = try await checkpoints(write)
        let heads = try await pool.query(
            """
            SELECT c.id, coalesce((SELECT max(n) FROM audit_entries e WHERE e.chain = c.id), 0)::bigint AS n
            FROM audit_chains c ORDER BY c.id
            """
        ).map { (chain: try $0["id", as: UUID.self], n: try $0["n", as: Int64.self]) }
        var entries: Int64 = 0
        for head in heads where head.n > 0 { entries += try await chain(head.chain, to: head.n, write) }
        try await tombstones(write)
        try await write(try ExportLine.end(entries: entries, checkpoints: points).text())
    }

    private func checkpoints(_ write: (String) async throws -> Void) async throws -> Int64 {
        var count: Int64 = 0
        var last: Int64?
        while true {
            let page = try await pool.withConnection { [last] connection in
                try await AuditStore.checkpoints(connection, after: last, limit: Self.pageSize, newestFirst: false)
            }
            if page.isEmpty { return count }
            count += Int64(page.count)
            last = page.last?.number
            try await write(try page.map { try ExportLine.checkpoint($0).text() }.joined())
        }
    }

    private func chain(_ chain: UUID, to head: Int64, _ write: (String) async throws -> Void) async throws -> Int64 {
        var n: Int64 = 0
        var count: Int64 = 0
        while n < head {
            let text = try await pool.withConnection { [n] connection -> (lines: String, last: Int64, count: Int) in
                let page = try await connection.query(
                    """
                    SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                    WHERE chain = \(chain) AND n > \(n) AND n <= \(head) ORDER BY n LIMIT \(Self.pageSize)
                    """
                ).map { try AuditLink($0) }
                let rows = try await RecordRows(connection: connection).read(page)
                let lines = try page.map { link in
                    try ExportLine.entry(link, rows[link.kind]?[link.subject].flatMap { try? AuditRecord($0) }).text()
                }
                return (lines.joined(), page.last?.n ?? head, page.count)
            }
            n = text.last
            count += Int64(text.count)
            if !text.lines.isEmpty { try await write(text.lines) }
        }
        return count
    }

    private func tombstones(_ write: (String) async throws -> Void) async throws {
        var last = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        while true {
            let facts = try await pool.query(
                "SELECT id FROM audit_facts WHERE kind LIKE 'retention.%' AND id > \(last) ORDER BY id LIMIT 100"
            ).map { try $0["id", as: UUID.self] }
            guard let end = facts.last else { return }
            last = end
            for fact in facts {
                let stones = try await pool.query(
                    "SELECT what, subject, budget_ids, cost FROM audit_tombstones WHERE fact_id = \(fact) ORDER BY n"
                ).map { try Tombstone($0) }
                try await write(try ExportLine.tombstones(fact: fact, stones).text())
            }
        }
    }
}
