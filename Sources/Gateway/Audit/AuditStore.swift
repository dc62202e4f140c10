import AuditProof
import Core
import Foundation
import Postgres

/// Reads the audit tables.
package struct AuditStore: Sendable {
    let pool: PostgresPool
    let contents: ContentStore

    /// Newest first; the cursor is opaque.
    package func entries(_ page: PageRequest) async throws -> Page<AuditLink> {
        var place: (at: Int64, chain: UUID, n: Int64)?
        if let after = page.after {
            let parts = after.split(separator: "_")
            guard parts.count == 3, let at = Int64(parts[0]), let chain = UUID(uuidString: String(parts[1])),
                let n = Int64(parts[2])
            else {
                throw AppError(.badRequest, "after is not a cursor of this list; take it from the answer before.", field: "after")
            }
            place = (at, chain, n)
        }
        let rows = try await pool.query(
            """
            SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
            WHERE \(place?.at)::bigint IS NULL OR (at, chain, n) < (\(place?.at), \(place?.chain), \(place?.n))
            ORDER BY at DESC, chain DESC, n DESC LIMIT \(page.limit + 1)
            """
        ).map { try AuditLink($0) }
        let items = Array(rows.prefix(page.limit))
        let next = rows.count > page.limit ? items.last.map { "\($0.at)_\($0.chain.uuidString.lowercased())_\($0.n)" } : nil
        return Page(items: items, next: next)
    }

    /// The last entry of each chain, longest-living first.
    package func heads(limit: Int = 1000) async throws -> [AuditLink] {
        try await pool.query(
            """
            SELECT e.chain, e.n, e.prev, e.digest, e.kind, e.subject, e.at FROM audit_chains c
            CROSS JOIN LATERAL (SELECT * FROM audit_entries e WHERE e.chain = c.id ORDER BY n DESC LIMIT 1) e
            ORDER BY c.created_at DESC, c.id LIMIT \(limit)
            """
        ).map { try AuditLink($0) }
    }

    /// - Parameter after: a number.
    package func checkpoints(_ page: PageRequest, newestFirst: Bool = true) async throws -> Page<Checkpoint> {
        let after = try page.after.map { text -> Int64 in
            guard let number = Int64(text) else {
                throw AppError(.badRequest, "after is not a checkpoint's number.", field: "after")
            }
            return number
        }
        return try await pool.withConnection { connection in
            let found = try await Self.checkpoints(connection, after: after, limit: page.limit + 1, newestFirst: newestFirst)
            let items = Array(found.prefix(page.limit))
            return Page(items: items, next: found.count > page.limit ? items.last.map { "\($0.number)" } : nil)
        }
    }

    /// All of them, as an anchor to keep elsewhere.
    package func anchor() async throws -> AuditAnchor {
        var all: [Checkpoint] = []
        while true {
            let next = try await pool.withConnection { connection in
                try await Self.checkpoints(connection, after: all.last?.number, limit: 1000, newestFirst: false)
            }
            all += next
            if next.count < 1000 { return AuditAnchor(all) }
        }
    }

    package var export: AuditExport { AuditExport(pool: pool) }

    /// Re-derives everything from the rows.
    package func verify(anchor: AuditAnchor? = nil) async throws -> AuditReport {
        try await AuditVerifier(pool: pool, contents: contents, anchor: anchor).run()
    }

    static func checkpoints(
        _ connection: PostgresConnection, after: Int64?, limit: Int, newestFirst: Bool
    ) async throws -> [Checkpoint] {
        let order: Query =
            newestFirst
            ? "(\(after)::bigint IS NULL OR c.number < \(after)) ORDER BY c.number DESC"
            : "c.number > \(after ?? 0) ORDER BY c.number"
        return try await connection.query(
            """
            SELECT c.number, c.body, c.key_id, c.signature, c.at, c.entries, coalesce(k.public_key, ''::bytea) AS public_key
            FROM audit_checkpoints c LEFT JOIN audit_signing_keys k ON k.id = c.key_id
            WHERE \(order) LIMIT \(limit)
            """
        ).map { row in
            Checkpoint(
                number: try row["number"], body: try row["body"], keyID: try row["key_id"], publicKey: try row["public_key"],
                signature: try row["signature"], at: try row["at"], entries: try row["entries"])
        }
    }
}
