import Core
import Foundation
import Postgres

/// What settlements do to the counters of limits: the place among the calls under way is given back, and the tokens that were counted
/// are replaced by those that there were. It reads from the holds, so it comes before they are removed, and counts once as they do.
enum RateRelease {
    /// None for a batch that no limit applied to.
    static func statements(_ rows: [Settlement]) -> [Query] {
        let counters = Array(Set(rows.flatMap(\.counters))).sorted()
        if counters.isEmpty { return [] }
        let limited = rows.filter { !$0.counters.isEmpty }
        return [
            "SELECT id FROM ai_rate_counters WHERE id = ANY(\(counters)) ORDER BY id FOR UPDATE",
            """
            WITH uses AS (
                SELECT u.counter, u.slot, coalesce(t.tokens, h.rate_tokens) - h.rate_tokens AS more
                FROM unnest(\(limited.map(\.interception.uuid)), \(limited.map(\.countedTokens))) AS t (id, tokens)
                JOIN ai_holds h ON h.interception_id = t.id
                CROSS JOIN LATERAL unnest(h.rate_counters, h.rate_slots) AS u (counter, slot)
            ), calls AS (
                SELECT counter, count(*) AS n FROM uses GROUP BY counter
            )
            UPDATE ai_rate_counters c
            SET open = greatest(c.open - calls.n, 0),
                tokens = ARRAY(
                    SELECT greatest(c.tokens[i + 1] + coalesce((
                        SELECT sum(u.more) FROM uses u
                        WHERE u.counter = c.id AND u.slot % 13 = i AND u.slot > c.slot - 13 AND u.slot <= c.slot), 0), 0)::bigint
                    FROM generate_series(0, 12) AS i ORDER BY i)
            FROM calls WHERE c.id = calls.counter
            """,
        ]
    }
}
