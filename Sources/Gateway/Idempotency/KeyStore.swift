import Core
import Foundation
import Postgres

/// Keys in the database, where all replicas see them.
enum KeyStore {
    // MARK: In the transaction of a hold

    /// Claims the keys of a batch for its calls. Those that others have are returned, by interception; nobody waits for them here.
    ///
    /// Keys are locked in one order, before budgets: two replicas with the same keys do not wait for each other in a circle. A batch never
    /// has the same key twice, since a process has at most one call under way for each (`KeyedCalls`).
    static func claim(_ batch: [HoldLoop.Request], _ connection: PostgresConnection) async throws -> [InterceptionID: KeyTaken] {
        let claims = batch.compactMap { request in request.claim.map { (claim: $0, id: request.interception.id) } }
            .sorted { $0.claim.key.hash.lexicographicallyPrecedes($1.claim.key.hash) }
        if claims.isEmpty { return [:] }
        let keys = claims.map(\.claim.key)
        // What is free again by `KeyRule`: expired, or its call cost nothing and has no answer. The statement may have waited for another
        // replica's claim, whose call it does not see: what it does not see must never make a key free.
        _ = try await connection.query(
            """
            INSERT INTO ai_idempotency_keys AS k (organization_id, user_id, key_hash, request_hash, interception_id, expires_at)
            SELECT t.*, now() + \(Int64(IdempotencyKey.hours)) * interval '1 hour'
            FROM unnest(\(keys.map(\.organization.uuid)), \(keys.map(\.user.uuid)), \(keys.map(\.hash)),
                        \(claims.map(\.claim.requestHash)), \(claims.map(\.id.uuid))) AS t
            ON CONFLICT (organization_id, user_id, key_hash) DO UPDATE
            SET request_hash = excluded.request_hash, interception_id = excluded.interception_id, expires_at = excluded.expires_at
            WHERE k.expires_at <= now()
               OR EXISTS (SELECT FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id
                          WHERE l.interception_id = k.interception_id AND l.cost = 0 AND i.status <> 'completed')
            """)
        let rows = try await connection.query(
            """
            SELECT k.organization_id, k.user_id, k.key_hash, k.request_hash, k.interception_id
            FROM unnest(\(keys.map(\.organization.uuid)), \(keys.map(\.user.uuid)), \(keys.map(\.hash))) AS t (organization, "user", hash)
            JOIN ai_idempotency_keys k ON k.organization_id = t.organization AND k.user_id = t."user" AND k.key_hash = t.hash
            """)
        var holders: [IdempotencyKey: KeyTaken] = [:]
        for row in rows {
            let key = IdempotencyKey(
                organization: try row["organization_id"], user: try row["user_id"], hash: try row["key_hash"])
            holders[key] = KeyTaken(first: try row["interception_id"], requestHash: try row["request_hash"])
        }
        var taken: [InterceptionID: KeyTaken] = [:]
        for (claim, id) in claims {
            if let holder = holders[claim.key], holder.first != id { taken[id] = holder }
        }
        return taken
    }

    /// Of calls that got no hold.
    static func release(_ calls: [InterceptionID]) -> Query {
        "DELETE FROM ai_idempotency_keys WHERE interception_id = ANY(\(calls.map(\.uuid)))"
    }

    // MARK: Afterwards

    /// How these calls ended; those that are not on record are not in it.
    static func firsts(_ ids: [InterceptionID], _ pool: PostgresPool) async throws -> [InterceptionID: KeyRule.First] {
        let rows = try await pool.query(
            """
            SELECT i.id, i.status, i.content_mode, l.cost FROM ai_interceptions i
            LEFT JOIN ai_ledger l ON l.interception_id = i.id WHERE i.id = ANY(\(ids.map(\.uuid)))
            """)
        return try Dictionary(
            rows.map { row in
                let mode = try row["content_mode", as: String?.self].flatMap { ContentMode(rawValue: $0) }
                let first = KeyRule.First(
                    id: try row["id"], status: try row["status"], cost: try row["cost"], contentMode: mode ?? .full)
                return (first.id, first)
            }, uniquingKeysWith: { first, _ in first })
    }

    static func sweep(_ pool: PostgresPool) async throws {
        try await pool.execute(
            """
            DELETE FROM ai_idempotency_keys WHERE (organization_id, user_id, key_hash) IN (
                SELECT organization_id, user_id, key_hash FROM ai_idempotency_keys WHERE expires_at <= now() LIMIT 10000)
            """)
    }
}
