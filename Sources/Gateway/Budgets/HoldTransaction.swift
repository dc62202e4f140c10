import Core
import Foundation
import Postgres

/// One batch of holds: a look that locks, and the round trip that writes and commits. Without the look where it surely fits.
struct HoldTransaction {
    let pool: PostgresPool
    let chain: AuditChain
    let alerts: BudgetAlerts
    let memory: HoldMemory
    let batch: [HoldLoop.Request]

    private typealias Outcome = Result<HoldLoop.Grant, any Error>

    func run() async throws -> [Result<HoldLoop.Grant, any Error>] {
        for attempt in 1... {
            do {
                let (draft, outcomes, budgets) = try await pool.withTransaction(synchronousCommit: false) { connection in
                    try await chain.prepare(connection)
                    if attempt == 1, let remembered = memory.locks(for: batch) {
                        return try await write(remembered, [:], connection)
                    }
                    let taken = try await KeyStore.claim(batch, connection)
                    let locked = try await HoldLocks.take(batch, connection)
                    memory.learn(locked)
                    return try await write(locked, taken, connection)
                }
                chain.committed(draft)
                memory.note(budgets)
                alerts.note(budgets)
                return outcomes
            } catch let missing as HoldLocks.Missing where attempt < 4 {
                // The roll-back took the chain's own row with it, if this was its first transaction.
                chain.doubt()
                try await missing.make(pool)
            } catch let error where (AuditChain.isBroken(error) || Self.isPassing(error)) && attempt < 4 {
                memory.forget()
                chain.doubt()
            } catch let error as PostgresError where error.sqlState == Self.divisionByZero && batch.count == 1 {
                chain.doubt()
                throw AppError(
                    .unavailable, "The budget was changed again and again at this very moment. Try again.", retry: .now,
                    cause: error)
            } catch {
                memory.forget()
                chain.doubt()
                throw error
            }
        }
        throw AppError(.internal, "unreachable")
    }

    /// What becomes of each request of the batch.
    private enum Decision {
        /// With the slot of each counter, and the tokens that were counted.
        case granted(HoldLoop.Grant, slots: [Int64], tokens: Int64)
        case refused(AppError)
        /// Not on record: it is tried again.
        case waits(LimitBusy)
        /// Not on record: its key stands for another call.
        case taken(KeyTaken)
        /// On record without a hold: it repeats a call that was paid.
        case repeats(HoldLoop.Grant)
    }

    private func write(
        _ locked: HoldLocks, _ taken: [InterceptionID: KeyTaken], _ connection: PostgresConnection
    ) async throws -> (AuditChain.Draft, [Outcome], [HoldPlan.Budget]) {
        var plan = HoldPlan(locked.budgets)
        var rates = RatePlan(locked.counters, now: locked.now)
        var decisions: [Decision?] = Array(repeating: nil, count: batch.count)
        for index in order {
            decisions[index] = taken[batch[index].interception.id].map { .taken($0) } ?? decide(batch[index], locked, &plan, &rates)
        }

        var rows: [InterceptionRow] = []
        var held: [HoldStatements.Held] = []
        for (request, decision) in zip(batch, decisions) {
            let thread = request.interception.thread ?? locked.threads[request.interception.id.uuid]
            var row = InterceptionRow(
                request: request,
                placement: .init(hold: .zero, threadParent: thread?.parent, threadRoot: thread?.root, startedAt: locked.now),
                refusal: nil)
            switch decision {
            case .granted(let grant, let slots, let tokens):
                row.placement.hold = grant.amount
                held.append(
                    .init(request: request, grant: grant, rateSlots: slots, rateTokens: tokens))
            case .refused(let error):
                if request.isExtra { continue }
                row.refusal = error
            case .waits, .taken: continue
            case .repeats: break
            case nil: row.refusal = request.interception.refusal
            }
            rows.append(row)
        }
        let unclaimed = zip(batch, decisions).compactMap { request, decision -> InterceptionID? in
            if case .granted = decision { return nil }
            return request.claim == nil ? nil : request.interception.id
        }
        var entries = rows.map {
            AuditEntry(
                .interception, subject: $0.request.interception.id.description,
                digest: $0.request.interception.digest($0.placement, refusal: $0.refusal))
        }
        let findings = rows.map(\.request).filter { !$0.interception.findings.isEmpty }.flatMap {
            FindingRows.rows($0.interception.id.uuid, .request, $0.interception.organization, $0.interception.findings)
        }
        entries += FindingRows.entries(findings, at: locked.now)
        let draft = try chain.draft(entries, at: locked.now)
        var statements = [InterceptionRow.insert(rows), draft.insert]
        if !findings.isEmpty { statements.append(FindingRows.insert(findings, at: locked.now)) }
        if !held.isEmpty { statements.append(HoldStatements.insert(held)) }
        if !unclaimed.isEmpty { statements.append(KeyStore.release(unclaimed)) }
        let counted = rates.changed
        if !counted.isEmpty { statements.append(HoldStatements.count(counted)) }
        let budgets = plan.taken
        // Last, so that what is not locked yet is locked for the shortest time.
        if !budgets.isEmpty {
            statements += [HoldStatements.lock(budgets), HoldStatements.take(budgets, hasRules: !locked.starts.isEmpty)]
        }
        let results = try await connection.commit(after: statements)
        let outcomes = decisions.map { decision -> Outcome in
            switch decision {
            case .granted(var grant, _, _), .repeats(var grant):
                grant.entry = draft.last
                return .success(grant)
            case .refused(let error): return .failure(error)
            case .waits(let busy): return .failure(busy)
            case .taken(let taken): return .failure(taken)
            case nil: return .failure(AppError(.internal, "The call was neither held nor refused."))
            }
        }
        let untouched = plan.budgets.values.filter { $0.taken == .zero }
        return (draft, outcomes, untouched + (budgets.isEmpty ? [] : try HoldStatements.taken(budgets, results[results.count - 1])))
    }

    /// Those that somebody waits for are let through limits first.
    private var order: [Int] {
        if batch.allSatisfy(\.uses.isEmpty) { return Array(batch.indices) }
        return batch.indices.filter { batch[$0].turn == .interactive } + batch.indices.filter { batch[$0].turn == .background }
    }

    private func decide(
        _ request: HoldLoop.Request, _ locked: HoldLocks, _ plan: inout HoldPlan, _ rates: inout RatePlan
    ) -> Decision? {
        if let refusal = request.interception.refusal { return .refused(refusal) }
        if request.interception.replayOf != nil {
            return .repeats(HoldLoop.Grant(amount: .zero, budgets: [], generation: chain.losses))
        }
        guard let demand = request.demand else { return nil }
        let counters = locked.counters(of: request)
        let tokens = min(Int64(demand.tokens), RateLimit.highest)
        switch rates.check(counters, tokens: tokens) {
        case .admitted: break
        case .limited(let id, let what, let limit, let wait):
            return .refused(RateRefusal.limited(rates.counters[id]?.name ?? "", what, limit, wait))
        case .busy(let id, let limit):
            if request.mayWait, let use = locked.use(of: id, in: request) { return .waits(LimitBusy(use: use)) }
            return .refused(RateRefusal.busy(rates.counters[id]?.name ?? "", limit))
        }
        let budgets = locked.budgets(of: request)
        switch plan.take(demand, from: budgets) {
        case .granted(let amount):
            rates.take(counters, tokens: tokens)
            let thread = request.interception.thread ?? locked.threads[request.interception.id.uuid]
            let grant = HoldLoop.Grant(
                amount: amount, budgets: budgets, counters: counters, threadParent: thread?.parent, threadRoot: thread?.root,
                generation: chain.losses)
            return .granted(grant, slots: counters.map { rates.slot(of: $0) }, tokens: tokens)
        case .refused(let id, let left):
            return .refused(short(request, locked, plan.budgets[id], left, demand))
        }
    }

    private static let divisionByZero = "22012"

    /// A cap was lowered between the two round trips, or what was remembered is not so any more (`HoldStatements.take` divides by zero
    /// then), or somebody who changes limits or budgets locked rows in another order: looked at, each call of the batch gets its own
    /// answer.
    private static func isPassing(_ error: any Error) -> Bool {
        guard let error = error as? PostgresError else { return false }
        return error.sqlState == divisionByZero || error.isSerializationFailure
    }

    private func short(
        _ request: HoldLoop.Request, _ locked: HoldLocks, _ budget: HoldPlan.Budget?, _ left: NanoDollars, _ demand: HoldDemand
    ) -> AppError {
        let cap = budget?.cap ?? .zero
        let held = (budget?.held ?? .zero) + (budget?.taken ?? .zero)
        let rule = budget.flatMap { locked.rule(of: $0.id, in: request) }
        let start = budget.flatMap { locked.starts[$0.id] } ?? ""
        let name = rule.map { "of \($0.name) for \($0.period.name(from: start))" } ?? "for \(locked.monthName)"
        let command =
            rule.map { "slipway budget set \($0.name) <amount> --period \($0.period.rawValue)" }
            ?? "slipway budget set <user> <amount>"
        return AppError(
            .budgetExceeded,
            """
            The budget \(name) does not cover this call: it needs at least \(demand.least), and \(left) of \(cap) is left \
            (\(held) is held by calls under way). Ask an admin to raise it: \(command).
            """, retry: .never)
    }
}
