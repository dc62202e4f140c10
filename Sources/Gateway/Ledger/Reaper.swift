import Core
import Crypto
import Foundation
import Logging
import ModelAPI
import Postgres

/// Settles what a dead replica left open: the whole hold is booked, as `unknown`.
///
/// A replica is dead when its heartbeat is older than four seconds by the database's clock, or when it is not known.
struct Reaper: Sendable {
    let pool: PostgresPool
    let settle: SettleLoop
    let contents: ContentStore
    let replica: ReplicaID
    let logger: Logger

    /// - Returns: how many calls were settled.
    @discardableResult
    func reap() async throws -> Int {
        let settlements = try await pool.query(
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
            Settlement(
                interception: try row["interception_id"], attempt: try row["attempt"], organization: try row["organization_id"],
                user: try row["initiator_id"], budgets: try row["budget_ids"],
                counters: try row["rate_counters", as: [Int64]?.self] ?? [], hold: try row["amount"],
                provider: try row["provider_name"], model: try row["model"], price: try row["price_id"], state: .unknown,
                usage: Usage(),
                cost: try row["amount"], answerHash: Content.emptyHash, answerSize: 0, toolsHash: Content.emptyHash,
                ending: .init(status: .unknown, error: "the server that made the call died with it open"))
        }
        for var settlement in settlements {
            let partial = try await contents.body(settlement.organization, settlement.interception, .answer)?.bytes ?? Data()
            settlement.answerHash = Data(SHA256.hash(data: partial))
            settlement.answerSize = partial.count
            try await settle.settleAndWait(settlement)
        }
        if !settlements.isEmpty {
            logger.warning("settled calls that a dead server left open", metadata: ["calls": "\(settlements.count)"])
        }
        return settlements.count
    }
}
