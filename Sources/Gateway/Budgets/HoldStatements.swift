import Core
import Foundation
import Postgres

/// What a batch of holds writes besides interceptions and audit entries.
enum HoldStatements {
    /// Fails, and the transaction with it, unless every budget still has room: the commit follows in the same breath.
    static func take(_ budgets: [HoldPlan.Budget], hasRules: Bool) -> Query {
        let rules: Query = """
            AND NOT EXISTS (
                SELECT FROM ai_budget_rules r WHERE r.id = b.rule_id AND r.hard AND b.spent + b.held + t.amount > r.cap)
            """
        return """
            WITH taken AS (
                UPDATE ai_budgets b SET held = b.held + t.amount
                FROM unnest(\(budgets.map(\.id)), \(budgets.map(\.taken.value))) AS t (id, amount)
                WHERE b.id = t.id AND NOT EXISTS (
                    SELECT FROM ai_budget_caps c WHERE c.user_id = b.user_id AND c.hard AND b.spent + b.held + t.amount > c.cap)
                \(hasRules ? rules : "")
                RETURNING b.id)
            SELECT 1 / (CASE WHEN count(*) = \(budgets.count) THEN 1 ELSE 0 END) FROM taken
            """
    }

    struct Held {
        var request: HoldLoop.Request
        var grant: HoldLoop.Grant
        var rateSlots: [Int64]
        var rateTokens: Int64
    }

    static func insert(_ held: [Held]) -> Query {
        if held.allSatisfy({ $0.grant.budgets.count == 1 && $0.grant.counters.isEmpty }) { return insertPlain(held) }
        // Arrays of arrays would have to be of one length.
        func list(_ numbers: [Int64]) -> String? { numbers.isEmpty ? nil : numbers.map(String.init).joined(separator: ",") }
        return """
            INSERT INTO ai_holds
                (interception_id, attempt, organization_id, budget_ids, amount, replica_id, rate_counters, rate_slots, rate_tokens)
            SELECT id, 1, organization_id, string_to_array(budgets, ',')::bigint[], amount, replica,
                   string_to_array(counters, ',')::bigint[], string_to_array(slots, ',')::bigint[], tokens
            FROM unnest(\(held.map(\.request.interception.id.uuid)), \(held.map(\.request.interception.organization.uuid)),
                        \(held.map { list($0.grant.budgets) }), \(held.map(\.grant.amount.value)), \(held.map(\.request.interception.replica.uuid)),
                        \(held.map { list($0.grant.counters) }), \(held.map { list($0.rateSlots) }), \(held.map(\.rateTokens)))
                 AS t (id, organization_id, budgets, amount, replica, counters, slots, tokens)
            """
    }

    /// Of calls that have one budget each and no limit: nearly all.
    private static func insertPlain(_ held: [Held]) -> Query {
        """
        INSERT INTO ai_holds (interception_id, attempt, organization_id, budget_ids, amount, replica_id)
        SELECT id, 1, organization_id, ARRAY[budget], amount, replica
        FROM unnest(\(held.map(\.request.interception.id.uuid)), \(held.map(\.request.interception.organization.uuid)), \(held.map { $0.grant.budgets[0] }),
                    \(held.map(\.grant.amount.value)), \(held.map(\.request.interception.replica.uuid)))
             AS t (id, organization_id, budget, amount, replica)
        """
    }

    /// The rows are locked, so what was calculated from them can take their place.
    static func count(_ counters: [RatePlan.Counter]) -> Query {
        func list(_ window: RateWindow) -> String { window.counts.map(String.init).joined(separator: ",") }
        return """
            UPDATE ai_rate_counters c
            SET open = t.open, slot = t.slot, requests = string_to_array(t.requests, ',')::bigint[],
                tokens = string_to_array(t.tokens, ',')::bigint[]
            FROM unnest(\(counters.map(\.id)), \(counters.map(\.open)), \(counters.map(\.requests.slot)),
                        \(counters.map { list($0.requests) }), \(counters.map { list($0.tokens) }))
                 AS t (id, open, slot, requests, tokens)
            WHERE c.id = t.id
            """
    }
}
