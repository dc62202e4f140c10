import AuditProof
import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres

/// One of this process's chains. Entries are inserted by the transaction that writes the rows they are about; one such transaction
/// at a time.
final class AuditChain: Sendable {
    enum Name: String { case calls, ledger, facts }

    /// Linked entries whose transaction is not committed yet.
    struct Draft {
        var insert: Query
        fileprivate var head: ChainHead
        /// The number of the last of them.
        var last: Int64 { head.n }
    }

    let id: UUID
    let name: Name
    private let replica: ReplicaID
    private let state = NIOLockedValueBox(State())

    private struct State {
        /// As far as this process knows it to be committed.
        var head = ChainHead()
        /// False: it must be read from the database first: at the start, and after a commit whose outcome is not known.
        var isCurrent = false
        var losses = 0
        var onLoss: (@Sendable () -> Void)?
    }

    init(_ name: Name, replica: ReplicaID) {
        id = UUID()
        self.name = name
        self.replica = replica
    }

    var head: ChainHead { state.withLockedValue { $0.head } }

    /// How often the database came back without entries that it had committed. What was linked under an earlier number may be lost.
    var losses: Int { state.withLockedValue { $0.losses } }

    /// What to do about a loss.
    func onLoss(_ action: @escaping @Sendable () -> Void) { state.withLockedValue { $0.onLoss = action } }

    /// Reads the head if it may have moved; call it first in the transaction.
    func prepare(_ connection: PostgresConnection) async throws {
        let (isCurrent, known) = state.withLockedValue { ($0.isCurrent, $0.head) }
        if isCurrent { return }
        let results = try await connection.pipeline([
            """
            INSERT INTO audit_chains (id, replica_id, name) VALUES (\(id), \(replica), \(name.rawValue)) ON CONFLICT (id) DO NOTHING
            """,
            "SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries WHERE chain = \(id) ORDER BY n DESC LIMIT 1",
            "SELECT 1 FROM audit_entries WHERE chain = \(id) AND n = \(known.n) AND digest = \(known.digest)",
        ])
        let last = try results[1].first.map { try AuditLink($0) }
        let isLost = known.n > 0 && results[2].isEmpty
        let action = state.withLockedValue { state in
            state.head = last.map { ChainHead(n: $0.n, link: $0.link, digest: $0.digest) } ?? ChainHead()
            state.isCurrent = true
            if isLost { state.losses += 1 }
            return isLost ? state.onLoss : nil
        }
        action?()
    }

    /// Reads the head again, in a transaction of its own; on the lane of those who append.
    func recheck(_ pool: PostgresPool) async {
        doubt()
        do { try await pool.withTransaction { try await prepare($0) } } catch { doubt() }
    }

    /// - Parameter at: microseconds since 1970.
    func draft(_ entries: [AuditEntry], at: Int64) throws -> Draft {
        let (isCurrent, known) = state.withLockedValue { ($0.isCurrent, $0.head) }
        guard isCurrent else { throw AppError(.internal, "The audit chain \(name.rawValue) was not prepared.") }
        var head = known
        let links = head.link(entries, in: id, at: at)
        // A database that was killed may have come back without the entry before, unnoticed so far: then the number is null, which the
        // column refuses (`isBroken`). Else the chain would have a gap, and its head would stand for entries that are not on disk.
        let insert: Query = """
            INSERT INTO audit_entries (chain, n, prev, digest, kind, subject, at)
            SELECT \(id), CASE WHEN \(known.n) = 0 OR EXISTS (
                    SELECT FROM audit_entries WHERE chain = \(id) AND n = \(known.n) AND digest = \(known.digest)) THEN n END,
                   prev, digest, kind, subject, \(at)
            FROM unnest(\(links.map(\.n)), \(links.map(\.prev)), \(links.map(\.digest)), \(links.map(\.kind)), \(links.map(\.subject)))
                 AS t (n, prev, digest, kind, subject)
            """
        return Draft(insert: insert, head: head)
    }

    /// Whether an insert failed since the entry before is lost. Behind `doubt()` the same may be tried again at once.
    static func isBroken(_ error: any Error) -> Bool {
        guard let error = error as? PostgresError else { return false }
        return error.sqlState == "23502" && error.table == "audit_entries"
    }

    func committed(_ draft: Draft) { state.withLockedValue { $0.head = draft.head } }

    /// The last transaction may or may not have taken effect, or the database may have lost some: look before the next one.
    func doubt() { state.withLockedValue { $0.isCurrent = false } }
}

extension AuditLink {
    init(_ row: Row) throws {
        self.init(
            chain: try row["chain"], n: try row["n"], prev: try row["prev"], digest: try row["digest"], kind: try row["kind"],
            subject: try row["subject"], at: try row["at"])
    }
}
