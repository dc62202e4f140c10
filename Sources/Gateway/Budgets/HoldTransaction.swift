import Core
import Foundation
import Postgres

/// One batch of holds: two round trips, of which the second commits.
struct HoldTransaction {
    let pool: PostgresPool
    let chain: AuditChain
    let batch: [HoldLoop.Request]

    private struct Locked {
        var budgets: [HoldPlan.Budget] = []
        var budgetOf: [UUID: Int64] = [:]
        var threads: [UUID: ThreadMemory.Place] = [:]
        var now: Int64 = 0
        var monthName = ""
    }

    private typealias Outcome = Result<HoldLoop.Grant, any Error>

    func run() async throws -> [Result<HoldLoop.Grant, any Error>] {
        for attempt in 1... {
            do {
                let (draft, outcomes) = try await pool.withTransaction(synchronousCommit: false) { connection in
                    try await chain.prepare(connection)
                    let locked = try await lock(connection)
                    return try await write(locked, connection)
                }
                chain.committed(draft)
                return outcomes
            } catch let missing as MissingBudgets where attempt < 4 {
                // The roll-back took the chain's own row with it, if this was its first transaction.
                chain.doubt()
                // Made outside of the transaction: inserting while holding locks could lock budgets out of order.
                try await makeBudgets(missing)
            } catch let error where AuditChain.isBroken(error) && attempt < 4 {
                chain.doubt()
            } catch {
                chain.doubt()
                throw error
            }
        }
        throw AppError(.internal, "unreachable")
    }

    private struct MissingBudgets: Error { var users: [(user: UUID, organization: UUID)] }

    private func makeBudgets(_ missing: MissingBudgets) async throws {
        try await pool.execute(
            """
            INSERT INTO ai_budgets (organization_id, user_id, period)
            SELECT organization_id, user_id, date_trunc('month', now() AT TIME ZONE 'UTC')::date
            FROM unnest(\(missing.users.map(\.organization)), \(missing.users.map(\.user))) AS t (organization_id, user_id)
            ON CONFLICT (user_id, period) DO NOTHING
            """)
    }

    // MARK: First round trip

    private func lock(_ connection: PostgresConnection) async throws -> Locked {
        let payers = batch.filter { $0.demand != nil }
        let users = Array(Set(payers.map(\.interception.initiator.uuid)))
        let calling = batch.filter { $0.interception.toolCall != nil && $0.interception.thread == nil }
        let results = try await connection.pipeline(
            [
                """
                SELECT \(unsafeSQL: microseconds("now()")) AS now, to_char(now() AT TIME ZONE 'UTC', 'FMMonth YYYY') AS month
                """,
                """
                SELECT b.id, b.user_id, b.spent, b.held, c.cap
                FROM ai_budgets b LEFT JOIN ai_budget_caps c ON c.user_id = b.user_id
                WHERE b.user_id = ANY(\(users)) AND b.period = date_trunc('month', now() AT TIME ZONE 'UTC')::date
                ORDER BY b.id FOR UPDATE OF b
                """,
            ] + (calling.isEmpty ? [] : [threadQuery(calling)]))
        var locked = Locked()
        locked.now = try results[0][0]["now"]
        locked.monthName = try results[0][0]["month"]
        for row in results[1] {
            let budget = HoldPlan.Budget(id: try row["id"], cap: try row["cap"], spent: try row["spent"], held: try row["held"])
            locked.budgets.append(budget)
            locked.budgetOf[try row["user_id"]] = budget.id
        }
        let missing = payers.filter { locked.budgetOf[$0.interception.initiator.uuid] == nil }
        if !missing.isEmpty {
            throw MissingBudgets(users: missing.map { ($0.interception.initiator.uuid, $0.interception.organization.uuid) })
        }
        for row in calling.isEmpty ? [] : results[2] {
            locked.threads[try row["id"]] = .init(parent: try row["parent"], root: try row["root"])
        }
        return locked
    }

    /// The calls that asked for the tools whose results come back now, of the same person.
    private func threadQuery(_ calling: [HoldLoop.Request]) -> Query {
        """
        SELECT t.id, parent.id AS parent, coalesce(parent.thread_root_id, parent.id) AS root
        FROM unnest(\(calling.map(\.interception.id.uuid)), \(calling.map { $0.interception.toolCall ?? "" })) AS t (id, tool_call)
        CROSS JOIN LATERAL (
            SELECT i.id, i.thread_root_id FROM ai_tool_usages u JOIN ai_interceptions i ON i.id = u.interception_id
            WHERE u.provider_tool_call_id = t.tool_call
              AND u.organization_id = ANY(\(Array(Set(calling.map(\.interception.organization.uuid)))))
              AND i.initiator_id = ANY(\(Array(Set(calling.map(\.interception.initiator.uuid)))))
            ORDER BY i.started_at DESC LIMIT 1
        ) parent
        """
    }

    // MARK: Second round trip

    private func write(_ locked: Locked, _ connection: PostgresConnection) async throws -> (AuditChain.Draft, [Outcome]) {
        var plan = HoldPlan(locked.budgets)
        var rows: [InterceptionRow] = []
        var grants: [HoldLoop.Grant?] = []
        var refusals: [AppError?] = []
        for request in batch {
            let thread = request.interception.thread ?? locked.threads[request.interception.id.uuid]
            var placement = NewInterception.Placement(
                hold: .zero, threadParent: thread?.parent, threadRoot: thread?.root, startedAt: locked.now)
            var refusal = request.interception.refusal
            var grant: HoldLoop.Grant?
            if refusal == nil, let demand = request.demand, let budget = locked.budgetOf[request.interception.initiator.uuid] {
                switch plan.take(demand, from: [budget]) {
                case .granted(let amount):
                    placement.hold = amount
                    grant = HoldLoop.Grant(
                        amount: amount, budgets: [budget], threadParent: thread?.parent, threadRoot: thread?.root,
                        generation: chain.losses)
                case .refused(let id, let left): refusal = Self.short(plan.budgets[id], left, demand, locked.monthName)
                }
            }
            rows.append(InterceptionRow(interception: request.interception, placement: placement, refusal: refusal))
            grants.append(grant)
            refusals.append(refusal)
        }
        let entries = rows.map {
            AuditEntry(
                .interception, subject: $0.interception.id.description,
                digest: $0.interception.digest($0.placement, refusal: $0.refusal))
        }
        let draft = try chain.draft(entries, at: locked.now)
        let held = zip(batch, grants).compactMap { request, grant in grant.map { (request.interception, $0) } }
        var statements = [InterceptionRow.insert(rows), draft.insert]
        if !held.isEmpty { statements.append(Self.insertHolds(held)) }
        let taken = plan.taken
        if !taken.isEmpty { statements.append(Self.take(taken)) }
        do {
            try await connection.commit(after: statements)
        } catch let error as PostgresError where error.sqlState == Self.divisionByZero {
            // A cap was lowered between the two round trips.
            throw AppError(.unavailable, "The budget was changed at this very moment. Try again.", retry: .now, cause: error)
        }
        let outcomes = zip(grants, refusals).map { grant, refusal -> Outcome in
            if var grant {
                grant.entry = draft.last
                return .success(grant)
            }
            return .failure(refusal ?? AppError(.internal, "The call was neither held nor refused."))
        }
        return (draft, outcomes)
    }

    private static let divisionByZero = "22012"

    /// Fails, and the transaction with it, unless every budget still has room: the commit follows in the same breath.
    private static func take(_ budgets: [HoldPlan.Budget]) -> Query {
        """
        WITH taken AS (
            UPDATE ai_budgets b SET held = b.held + t.amount
            FROM unnest(\(budgets.map(\.id)), \(budgets.map(\.taken.value))) AS t (id, amount)
            WHERE b.id = t.id AND NOT EXISTS (
                SELECT FROM ai_budget_caps c WHERE c.user_id = b.user_id AND b.spent + b.held + t.amount > c.cap)
            RETURNING b.id)
        SELECT 1 / (CASE WHEN count(*) = \(budgets.count) THEN 1 ELSE 0 END) FROM taken
        """
    }

    private static func insertHolds(_ held: [(NewInterception, HoldLoop.Grant)]) -> Query {
        // Every call has one budget so far; arrays of arrays would have to be of one length anyway.
        """
        INSERT INTO ai_holds (interception_id, attempt, organization_id, budget_ids, amount, replica_id)
        SELECT id, 1, organization_id, ARRAY[budget], amount, replica
        FROM unnest(\(held.map(\.0.id.uuid)), \(held.map(\.0.organization.uuid)), \(held.map { $0.1.budgets[0] }),
                    \(held.map(\.1.amount.value)), \(held.map(\.0.replica.uuid))) AS t (id, organization_id, budget, amount, replica)
        """
    }

    private static func short(_ budget: HoldPlan.Budget?, _ left: NanoDollars, _ demand: HoldDemand, _ month: String) -> AppError {
        let cap = budget?.cap ?? .zero
        let held = (budget?.held ?? .zero) + (budget?.taken ?? .zero)
        return AppError(
            .budgetExceeded,
            """
            The budget for \(month) does not cover this call: it needs at least \(demand.least), and \(left) of \(cap) is left \
            (\(held) is held by calls under way). Ask an admin to raise it: slipway budget set <user> <amount>.
            """, retry: .never)
    }
}
