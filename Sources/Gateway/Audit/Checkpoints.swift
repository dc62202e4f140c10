import AuditProof
import Core
import Crypto
import Foundation
import Logging
import Postgres

/// How often the heads of the chains are signed.
package struct CheckpointSchedule: Sendable {
    package var interval: Duration
    package var entries: Int64

    package init(interval: Duration = .seconds(10), entries: Int64 = 1000) {
        self.interval = interval
        self.entries = entries
    }
}

/// Signs the heads of all chains: one server at a time, the one that gets the lock.
package final class Checkpoints: Sendable {
    private let pool: PostgresPool
    private let keys: KeyRing
    private let schedule: CheckpointSchedule
    private let logger: Logger
    private let begunAt = Date()

    init(pool: PostgresPool, keys: KeyRing, schedule: CheckpointSchedule, logger: Logger) {
        self.pool = pool
        self.keys = keys
        self.schedule = schedule
        self.logger = logger
    }

    /// Until cancelled.
    func run() async {
        while !Task.isCancelled {
            do { try await makeIfDue() } catch {
                if !Task.isCancelled { logger.warning("no audit checkpoint could be made", metadata: ["error": "\(error)"]) }
            }
            try? await Task.sleep(for: min(.seconds(1), schedule.interval))
        }
    }

    /// Makes one when some chain has grown since the last; nil when none has.
    @discardableResult
    package func makeIfNeeded() async throws -> Checkpoint? { try await make(waits: true) { _, _ in true } }

    /// Makes one when some chain has grown and the schedule says so.
    func makeIfDue() async throws {
        let interval = schedule.interval / .seconds(1)
        let entries = schedule.entries
        _ = try await make(waits: false) { age, grown in age >= interval || grown >= entries }
    }

    /// - Parameter waits: for another server that is making one; else it is left to that one.
    private func make(waits: Bool, _ isDue: (_ age: Double, _ grown: Int64) -> Bool) async throws -> Checkpoint? {
        try await pool.withTransaction { connection in
            if waits { try await connection.execute("SELECT pg_advisory_xact_lock(\(Self.lock))") }
            guard
                try await connection.query("SELECT pg_try_advisory_xact_lock(\(Self.lock)) AS is_mine")[0]["is_mine", as: Bool.self]
            else {
                return nil
            }
            let last = try await AuditStore.checkpoints(connection, after: nil, limit: 1, newestFirst: true).first
            let signed = try await signedHeads(connection)
            let heads = try await connection.query(
                """
                SELECT c.id, e.n, e.prev, e.digest, e.kind, e.subject, e.at
                FROM audit_chains c
                CROSS JOIN LATERAL (SELECT * FROM audit_entries e WHERE e.chain = c.id ORDER BY n DESC LIMIT 1) e
                ORDER BY c.id
                """
            ).compactMap { row -> Checkpoint.Head? in
                let entry = AuditLink(
                    chain: try row["id"], n: try row["n"], prev: try row["prev"], digest: try row["digest"], kind: try row["kind"],
                    subject: try row["subject"], at: try row["at"])
                if signed[entry.chain] == entry.n { return nil }
                return Checkpoint.Head(chain: entry.chain, n: entry.n, link: entry.link.hex)
            }
            if heads.isEmpty { return nil }
            let times = try await connection.query(
                "SELECT \(unsafeSQL: microseconds("clock_timestamp()")) AS now")[0]["now", as: Int64.self]
            let age = last.map { Double(times) / 1_000_000 - $0.at.timeIntervalSince1970 } ?? Date().timeIntervalSince(begunAt)
            let grown = heads.reduce(0) { $0 + $1.n - (signed[$1.chain] ?? 0) }
            guard isDue(age, grown) else { return nil }
            let (keyID, key) = try await signingKey(connection)
            var checkpoint = try Checkpoint.signed(
                .init(number: (last?.number ?? 0) + 1, at: times, previous: last?.digest.hex ?? "", heads: heads), keyID: keyID,
                key: key)
            let all = signed.merging(heads.map { ($0.chain, $0.n) }) { _, new in new }.values.reduce(0, +)
            checkpoint.entries = all
            try await connection.execute(
                """
                INSERT INTO audit_checkpoints (number, body, key_id, signature, at, entries)
                VALUES (\(checkpoint.number), \(checkpoint.body), \(keyID), \(checkpoint.signature), \(checkpoint.at), \(all))
                """)
            try await connection.execute(
                """
                INSERT INTO audit_signed (chain, n) SELECT * FROM unnest(\(heads.map(\.chain)), \(heads.map(\.n)))
                ON CONFLICT (chain) DO UPDATE SET n = excluded.n
                """)
            return checkpoint
        }
    }

    private static let lock: Int64 = 0x736C_6970_6175_6474

    /// Up to where each chain was signed. A hint that saves reading all checkpoints; the verifier does not believe it.
    private func signedHeads(_ connection: PostgresConnection) async throws -> [UUID: Int64] {
        let rows = try await connection.query("SELECT chain, n FROM audit_signed")
        return Dictionary(uniqueKeysWithValues: try rows.map { (try $0["chain", as: UUID.self], try $0["n", as: Int64.self]) })
    }

    private func signingKey(_ connection: PostgresConnection) async throws -> (String, Curve25519.Signing.PrivateKey) {
        func place(_ id: String) -> KeyRing.Place { .init(table: "audit_signing_keys", column: "sealed", row: id) }
        let rows = try await connection.query("SELECT id, sealed FROM audit_signing_keys ORDER BY created_at DESC LIMIT 1")
        if let row = rows.first {
            let id = try row["id", as: String.self]
            return (id, try .init(rawRepresentation: keys.open(row["sealed"], at: place(id))))
        }
        let key = Curve25519.Signing.PrivateKey()
        let id = Data(SHA256.hash(data: key.publicKey.rawRepresentation).prefix(8)).hex
        try await connection.execute(
            """
            INSERT INTO audit_signing_keys (id, public_key, sealed)
            VALUES (\(id), \(key.publicKey.rawRepresentation), \(try keys.seal(key.rawRepresentation, at: place(id))))
            """)
        return (id, key)
    }
}
