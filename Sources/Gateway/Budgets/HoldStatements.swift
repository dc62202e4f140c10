import Core
import Foundation
import Postgres

/// What a batch of holds writes besides interceptions and audit entries.
enum HoldStatements {
    /// In ascending order, as everybody does. In a statement of its own: one that waited for a row would still see caps as they were
    /// before.
    static func lock(_ budgets: [HoldPlan.Budget]) -> Query {
        "SELECT id FROM ai_budgets WHERE id = ANY(\(budgets.map(\.id))) ORDER BY id FOR UPDATE"
    }

    /// Fails, and the transaction with it, unless every budget is of this period and still has room: the commit follows in the same
    /// breath. The budgets must be locked. Tells what they are then.
    ///
    /// The division stands where every plan has to evaluate it: on the side of the join that keeps its row, and in what is selected.
    static func take(_ budgets: [HoldPlan.Budget], hasRules: Bool) -> Query {
        let rules: Query = """
            AND NOT EXISTS (
                SELECT FROM ai_budget_rules r WHERE r.id = b.rule_id AND r.hard AND b.spent + b.held + t.amount > r.cap)
            """
        return """
            WITH taken AS (
                UPDATE ai_budgets b SET held = b.held + t.amount
                FROM unnest(\(budgets.map(\.id)), \(budgets.map(\.taken.value))) AS t (id, amount)
                WHERE b.id = t.id AND (b.user_id IS NULL OR b.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date)
                AND NOT EXISTS (
                    SELECT FROM ai_budget_caps c WHERE c.user_id = b.user_id AND c.hard AND b.spent + b.held + t.amount > c.cap)
                \(hasRules ? rules : "")
                RETURNING b.id, b.spent, b.held)
            SELECT t.id, t.spent, t.held, w.is_whole
            FROM (SELECT 1 / (CASE WHEN count(*) = \(budgets.count) THEN 1 ELSE 0 END) AS is_whole FROM taken) w
            LEFT JOIN taken t ON true
            """
    }

    /// The budgets with what `take` tells of them.
    static func taken(_ budgets: [HoldPlan.Budget], _ rows: [Row]) throws -> [HoldPlan.Budget] {
        let found = try Dictionary(uniqueKeysWithValues: rows.map { (try $0["id", as: Int64.self], $0) })
        return try budgets.map { budget in
            var budget = budget
            guard let row = found[budget.id] else { return budget }
            (budget.spent, budget.held, budget.taken) = (try row["spent"], try row["held"], .zero)
            return budget
        }
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
