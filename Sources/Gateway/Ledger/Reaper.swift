import Core
import Crypto
import Foundation
import Logging
import ModelAPI
import NIOConcurrencyHelpers
import Postgres

/// Settles what a dead replica left open: the whole hold is booked, as `unknown`.
///
/// A replica is silent when its heartbeat is older than four seconds by the database's clock, or when it is not known; whether it is dead
/// `DatabaseContact` says. One that was taken for dead and lives corrects what was booked (`LateSettlement`).
final class Reaper: Sendable {
    private let pool: PostgresPool
    private let settle: SettleLoop
    private let contents: ContentStore
    private let replica: ReplicaID
    private let logger: Logger
    private let contact: NIOLockedValueBox<DatabaseContact>

    init(
        pool: PostgresPool, settle: SettleLoop, contents: ContentStore, replica: ReplicaID,
        contact: DatabaseContact.Bounds = .init(),
        logger: Logger
    ) {
        self.pool = pool
        self.settle = settle
        self.contents = contents
        self.replica = replica
        self.logger = logger
        self.contact = .init(DatabaseContact(contact))
    }

    private struct Left: Sendable {
        var replica: ReplicaID
        var settlement: Settlement
    }

    /// - Returns: how many calls were settled.
    @discardableResult
    func reap() async throws -> Int {
        let left: [Left]
        do { left = try await look() } catch {
            contact.withLockedValue { $0.lost() }
            throw error
        }
        let dead = contact.withLockedValue { $0.looked(at: .now, silent: Set(left.map(\.replica))) }
        var settled = 0
        for settlement in left.filter({ dead.contains($0.replica) }).map(\.settlement) {
            let partial = try await partialAnswer(settlement)
            do {
                try await settle.settleAndWait(settlement.with(partial: partial))
                settled += 1
            } catch {
                // The loop has said why. It must not keep the others' holds.
                continue
            }
        }
        if settled > 0 {
            logger.warning("settled calls that a dead server left open", metadata: ["calls": "\(settled)"])
        }
        return settled
    }

    /// What cannot be unpacked is no content: it must not keep what was held for ever.
    private func partialAnswer(_ settlement: Settlement) async throws -> Data {
        do {
            return try await contents.body(settlement.organization, settlement.interception, .answer)?.bytes ?? Data()
        } catch let error as PostgresError where error.isTransient {
            throw error
        } catch {
            if error is CancellationError { throw error }
            logger.warning(
                "the partial answer of a call cannot be read, and is left out of its settlement",
                metadata: ["interception": "\(settlement.interception)", "error": "\(error)"])
            return Data()
        }
    }

    /// The calls of silent replicas.
    private func look() async throws -> [Left] {
        try await pool.query(
            """
            WITH open AS MATERIALIZED (
                SELECT h.* FROM ai_holds h
                WHERE h.created_at < now() - interval '4 seconds' AND h.replica_id <> \(replica)
                  AND NOT EXISTS (SELECT FROM replicas r WHERE r.id = h.replica_id AND r.seen_at >= now() - interval '4 seconds')
                ORDER BY h.created_at LIMIT 200)
            SELECT h.interception_id, h.attempt, h.organization_id, h.budget_ids, h.rate_counters, h.amount, h.replica_id,
                   i.initiator_id, i.provider_name, i.model, i.price_id
            FROM open h JOIN ai_interceptions i ON i.id = h.interception_id
            ORDER BY h.created_at
            """
        ).map { row in
            Left(
                replica: try row["replica_id"],
                settlement: Settlement(
                    interception: try row["interception_id"], attempt: try row["attempt"], organization: try row["organization_id"],
                    user: try row["initiator_id"], budgets: try row["budget_ids"],
                    counters: try row["rate_counters", as: [Int64]?.self] ?? [], hold: try row["amount"],
                    provider: try row["provider_name"], model: try row["model"], price: try row["price_id"], state: .unknown,
                    usage: Usage(),
                    cost: try row["amount"], answerHash: Content.emptyHash, answerSize: 0, toolsHash: Content.emptyHash,
                    ending: .init(status: .unknown, error: "the server that made the call died with it open")))
        }
    }
}
