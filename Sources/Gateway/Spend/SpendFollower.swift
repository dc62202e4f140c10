import Core
import Foundation
import Logging
import Postgres

/// Adds what was booked to the sums by day, behind the calls: reads the ledger's chains on from where it was, each entry once.
package final class SpendFollower: ChainFollower {
    private let pool: PostgresPool
    let logger: Logger

    static let name = "spend"
    static let batchSize = 500

    init(pool: PostgresPool, logger: Logger) {
        self.pool = pool
        self.logger = logger
    }

    @discardableResult
    package func follow() async throws -> Int {
        try await pool.withTransaction(synchronousCommit: false) { connection in
            guard try await isMine(connection) else { return 0 }
            let rows = try await connection.query(
                """
                WITH behind AS MATERIALIZED (\(SpendStore.behind(limit: Self.batchSize))),
                added AS (
                    INSERT INTO ai_spend
                    SELECT l.organization_id, (l.settled_at AT TIME ZONE 'UTC')::date, l.user_id, l.provider, l.model, i.client,
                           coalesce(i.task_id, \(SpendStore.noTask)), \(unsafeSQL: SpendStore.sums)
                    FROM behind b JOIN ai_ledger l ON l.interception_id = b.interception_id AND l.attempt = b.attempt
                    JOIN ai_interceptions i ON i.id = l.interception_id
                    GROUP BY 1, 2, 3, 4, 5, 6, 7
                    ON CONFLICT (organization_id, day, user_id, provider, model, client, task_id) DO UPDATE SET
                        calls = ai_spend.calls + excluded.calls, input_tokens = ai_spend.input_tokens + excluded.input_tokens,
                        cache_read_input_tokens = ai_spend.cache_read_input_tokens + excluded.cache_read_input_tokens,
                        cache_write_5m_tokens = ai_spend.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
                        cache_write_1h_tokens = ai_spend.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
                        output_tokens = ai_spend.output_tokens + excluded.output_tokens,
                        reasoning_tokens = ai_spend.reasoning_tokens + excluded.reasoning_tokens,
                        web_searches = ai_spend.web_searches + excluded.web_searches, cost = ai_spend.cost + excluded.cost
                ), moved AS (
                    INSERT INTO audit_cursors (follower, chain, n) SELECT \(Self.name), chain, max(n) FROM behind GROUP BY chain
                    ON CONFLICT (follower, chain) DO UPDATE SET n = excluded.n
                )
                SELECT count(*) AS n FROM behind
                """)
            return try rows[0]["n"]
        }
    }

    static let lock: Int64 = 0x736C_6970_7370_656E
}
