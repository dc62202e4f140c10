import Core
import Foundation
import Postgres

/// What a batch of holds locks, in one round trip: budgets in ascending order, then the counters of limits in ascending order. All who
/// write to them keep to that order, so nobody waits in a circle.
struct HoldLocks {
    var budgets: [HoldPlan.Budget] = []
    var counters: [RatePlan.Counter] = []
    var threads: [UUID: ThreadMemory.Place] = [:]
    /// Microseconds since 1970.
    var now: Int64 = 0
    var monthName = ""
    private var budgetOfUser: [UUID: Int64] = [:]
    private var budgetOfRule: [UUID: Int64] = [:]
    private var counterOf: [UUID: [UUID: Int64]] = [:]
    /// When the periods of rules began.
    private(set) var starts: [Int64: String] = [:]

    init() {}

    /// Budgets that are not locked: as they were a moment ago.
    ///
    /// - Parameters:
    ///   - remembered: by user.
    ///   - now: microseconds since 1970.
    init(remembered: [UUID: HoldPlan.Budget], now: Int64, monthName: String) {
        budgets = Array(remembered.values)
        budgetOfUser = remembered.mapValues(\.id)
        self.now = now
        self.monthName = monthName
    }

    /// The users' own.
    var ownBudgets: [UUID: HoldPlan.Budget] {
        let ids = Dictionary(uniqueKeysWithValues: budgets.map { ($0.id, $0) })
        return budgetOfUser.compactMapValues { ids[$0] }
    }

    /// Rows that a call needs and that are not there yet.
    struct Missing: Error {
        var users: [(user: UUID, organization: UUID)] = []
        var rules: [UUID] = []
        var uses: [(use: RateUse, organization: UUID)] = []

        var isEmpty: Bool { users.isEmpty && rules.isEmpty && uses.isEmpty }

        /// Made outside of the transaction: inserting while holding locks could lock rows out of order.
        func make(_ pool: PostgresPool) async throws {
            try await pool.withConnection { connection in
                _ = try await connection.pipeline([
                    """
                    INSERT INTO ai_budgets (organization_id, user_id, period)
                    SELECT organization_id, user_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date
                    FROM unnest(\(users.map(\.organization)), \(users.map(\.user))) AS t (organization_id, user_id)
                    ON CONFLICT (user_id, period) DO NOTHING
                    """,
                    """
                    INSERT INTO ai_budgets (organization_id, rule_id, period)
                    SELECT organization_id, id, ai_budget_period(period) FROM ai_budget_rules WHERE id = ANY(\(rules))
                    ON CONFLICT (rule_id, period) DO NOTHING
                    """,
                    """
                    INSERT INTO ai_rate_counters (organization_id, limit_id, subject_id)
                    SELECT organization_id, limit_id, subject_id
                    FROM unnest(\(uses.map(\.organization)), \(uses.map(\.use.limit)), \(uses.map(\.use.subject)))
                         AS t (organization_id, limit_id, subject_id)
                    ON CONFLICT (limit_id, subject_id) DO NOTHING
                    """,
                ])
            }
        }
    }

    /// The budgets of a call, ascending: its user's month and those of rules.
    func budgets(of request: HoldLoop.Request) -> [Int64] {
        guard let own = budgetOfUser[request.interception.initiator.uuid] else { return [] }
        if request.rules.isEmpty { return [own] }
        return ([own] + request.rules.compactMap { budgetOfRule[$0.id] }).sorted()
    }

    /// The counters of a call, ascending. A limit that was removed meanwhile has none.
    func counters(of request: HoldLoop.Request) -> [Int64] {
        if request.uses.isEmpty { return [] }
        return request.uses.compactMap { counterOf[$0.limit]?[$0.subject] }.sorted()
    }

    func use(of counter: Int64, in request: HoldLoop.Request) -> RateUse? {
        request.uses.first { counterOf[$0.limit]?[$0.subject] == counter }
    }

    func rule(of budget: Int64, in request: HoldLoop.Request) -> BudgetRule? {
        request.rules.first { budgetOfRule[$0.id] == budget }
    }

    // MARK: Taking them

    /// - Throws: `Missing`.
    static func take(_ batch: [HoldLoop.Request], _ connection: PostgresConnection) async throws -> HoldLocks {
        let payers = batch.filter { $0.demand != nil }
        let rules = Array(Set(payers.flatMap { $0.rules.map(\.id) }))
        let uses = Array(Set(payers.flatMap(\.uses)))
        let calling = batch.filter { $0.interception.toolCall != nil && $0.interception.thread == nil }
        let users = Array(Set(payers.map(\.interception.initiator.uuid)))
        var statements: [Query] = [
            """
            SELECT \(unsafeSQL: microseconds("now()")) AS now, to_char(now() AT TIME ZONE 'UTC', 'FMMonth YYYY') AS month
            """,
            rules.isEmpty ? monthQuery(users) : ruleQuery(users, rules),
        ]
        if !calling.isEmpty { statements.append(threadQuery(calling)) }
        if !uses.isEmpty { statements.append(counterQuery(uses)) }
        let results = try await connection.pipeline(statements)
        var locks = HoldLocks()
        locks.now = try results[0][0]["now"]
        locks.monthName = try results[0][0]["month"]
        for row in results[1] { try locks.add(budget: row, hasRules: !rules.isEmpty) }
        for row in calling.isEmpty ? [] : results[2] {
            locks.threads[try row["id"]] = .init(parent: try row["parent"], root: try row["root"])
        }
        for row in uses.isEmpty ? [] : results[results.count - 1] { try locks.add(counter: row) }
        let missing = locks.missing(payers)
        if !missing.isEmpty { throw missing }
        return locks
    }

    private mutating func add(budget row: Row, hasRules: Bool) throws {
        let budget = HoldPlan.Budget(
            id: try row["id"], cap: try row["cap"], spent: try row["spent"], held: try row["held"],
            isHard: try row["hard", as: Bool?.self] ?? true)
        budgets.append(budget)
        if let user = try row["user_id", as: UUID?.self] { budgetOfUser[user] = budget.id }
        guard hasRules else { return }
        if let rule = try row["rule_id", as: UUID?.self] {
            budgetOfRule[rule] = budget.id
            starts[budget.id] = try row["start"]
        }
    }

    private mutating func add(counter row: Row) throws {
        let id = try row["id", as: Int64.self]
        counterOf[try row["limit_id"], default: [:]][try row["subject_id"]] = id
        // Removed meanwhile: nothing bounds the call.
        guard let name = try row["name", as: String?.self] else { return }
        let slot = try row["slot", as: Int64.self]
        counters.append(
            .init(
                id: id, name: name,
                bounds: .init(
                    requestsPerMinute: try row["requests_per_minute"], tokensPerMinute: try row["tokens_per_minute"],
                    concurrency: try row["concurrency"]),
                open: try row["open"], requests: RateWindow(slot: slot, counts: try row["requests"]),
                tokens: RateWindow(slot: slot, counts: try row["tokens"])))
    }

    private func missing(_ payers: [HoldLoop.Request]) -> Missing {
        var missing = Missing()
        for request in payers {
            let call = request.interception
            if budgetOfUser[call.initiator.uuid] == nil { missing.users.append((call.initiator.uuid, call.organization.uuid)) }
            for rule in request.rules where budgetOfRule[rule.id] == nil { missing.rules.append(rule.id) }
            for use in request.uses where counterOf[use.limit]?[use.subject] == nil {
                missing.uses.append((use, call.organization.uuid))
            }
        }
        return missing
    }

    // MARK: The statements

    /// The statement of nearly every batch.
    private static func monthQuery(_ users: [UUID]) -> Query {
        """
        SELECT b.id, b.user_id, b.spent, b.held, c.cap, c.hard
        FROM ai_budgets b LEFT JOIN ai_budget_caps c ON c.user_id = b.user_id
        WHERE b.user_id = ANY(\(users)) AND b.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date
        ORDER BY b.id FOR UPDATE OF b
        """
    }

    private static func ruleQuery(_ users: [UUID], _ rules: [UUID]) -> Query {
        """
        SELECT b.id, b.user_id, b.rule_id, b.period::text AS start, b.spent, b.held, coalesce(c.cap, r.cap) AS cap,
               coalesce(c.hard, r.hard) AS hard
        FROM ai_budgets b
        LEFT JOIN ai_budget_caps c ON c.user_id = b.user_id
        LEFT JOIN ai_budget_rules r ON r.id = b.rule_id
        WHERE b.id = ANY(ARRAY(
            SELECT m.id FROM ai_budgets m
            WHERE m.user_id = ANY(\(users)) AND m.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date
            UNION ALL
            SELECT e.id FROM ai_budget_rules s JOIN ai_budgets e ON e.rule_id = s.id AND e.period = ai_budget_period(s.period)
            WHERE s.id = ANY(\(rules))))
        ORDER BY b.id FOR UPDATE OF b
        """
    }

    private static func counterQuery(_ uses: [RateUse]) -> Query {
        """
        SELECT c.id, c.limit_id, c.subject_id, c.open, c.slot, c.requests, c.tokens, l.name, l.requests_per_minute,
               l.tokens_per_minute, l.concurrency
        FROM ai_rate_counters c LEFT JOIN ai_rate_limits l ON l.id = c.limit_id
        WHERE (c.limit_id, c.subject_id) IN (
            SELECT t.limit_id, t.subject_id FROM unnest(\(uses.map(\.limit)), \(uses.map(\.subject))) AS t (limit_id, subject_id))
        ORDER BY c.id FOR UPDATE OF c
        """
    }

    /// The calls that asked for the tools whose results come back now, each of the same person: a batch has calls of many, and ids of
    /// tool calls are the clients' to make up.
    private static func threadQuery(_ calling: [HoldLoop.Request]) -> Query {
        """
        SELECT t.id, parent.id AS parent, coalesce(parent.thread_root_id, parent.id) AS root
        FROM unnest(\(calling.map(\.interception.id.uuid)), \(calling.map { $0.interception.toolCall ?? "" }),
                    \(calling.map(\.interception.organization.uuid)), \(calling.map(\.interception.initiator.uuid)))
             AS t (id, tool_call, organization, initiator)
        CROSS JOIN LATERAL (
            SELECT i.id, i.thread_root_id FROM ai_tool_usages u JOIN ai_interceptions i ON i.id = u.interception_id
            WHERE u.provider_tool_call_id = t.tool_call AND u.organization_id = t.organization AND i.initiator_id = t.initiator
            ORDER BY i.started_at DESC LIMIT 1
        ) parent
        """
    }
}
