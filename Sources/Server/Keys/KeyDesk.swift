import API
import Core
import Foundation
import Gateway
import Postgres

/// What the keys of the ring encrypt, and sealing it anew. The state of a rotation is in the values themselves: whoever asks for the
/// next part goes on where the last one stopped, whatever happened in between.
package struct KeyDesk: Sendable {
    /// Values in one call, and in one transaction of it.
    static let part = 500
    private static let batch = 50

    let values: SealedValues
    let ring: KeyRing
    let facts: AuditFacts

    package init(pool: PostgresPool, ring: KeyRing, facts: AuditFacts) {
        values = SealedValues(pool: pool)
        self.ring = ring
        self.facts = facts
    }

    package func list() async throws -> EncryptionKeyList {
        let counts = try await values.counts()
        let strangers = counts.keys.filter { !ring.ids.contains($0) }.sorted()
        return EncryptionKeyList(
            keys: (ring.ids + strangers).map { id in
                EncryptionKey(
                    id: id, isFirst: id == ring.primaryID, isInRing: ring.ids.contains(id), values: counts[id] ?? 0)
            })
    }

    /// Seals the next part of what other keys encrypt with the first key.
    /// - Throws: `conflict` naming the servers that do not have that key yet.
    package func rotate(_ principal: Principal) async throws -> KeyRotation {
        try await checkServers()
        var done = 0
        for column in try await values.columns() {
            while done < Self.part {
                try Task.checkCancellation()
                let limit = min(Self.batch, Self.part - done)
                let count = try await values.reseal(column, with: ring, limit: limit)
                done += count
                if count < limit { break }
            }
        }
        let left = try await values.counts().filter { $0.key != ring.primaryID }.values.reduce(0, +)
        if done > 0 {
            try await facts.record(
                principal, kind: "keys.rotate", subject: ring.primaryID, ["left": "\(left)", "values": "\(done)"])
        }
        return KeyRotation(key: ring.primaryID, rotated: done, remaining: left)
    }

    private func checkServers() async throws {
        let rows = try await values.pool.query(
            """
            SELECT internal_url FROM replicas
            WHERE seen_at > now() - interval '10 s' AND NOT (\(ring.prints[0]) = ANY (key_prints)) ORDER BY internal_url LIMIT 5
            """)
        let lacking = try rows.map { try $0["internal_url", as: String.self] }
        guard lacking.isEmpty else {
            throw AppError(
                .conflict,
                "The server at \(lacking.joined(separator: ", ")) does not have the key '\(ring.primaryID)': restart it with this key in its ring, then rotate."
            )
        }
    }
}
