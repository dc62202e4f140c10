import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Takes holds for all calls that wait, in one transaction: locks their budgets in ascending order, and writes the holds, the
/// interceptions and their audit entries. The commit does not wait for the disk; whoever releases an answer does (`FlushLoop`).
final class HoldLoop: Sendable {
    /// A class: it goes through the queue of the batches, and has dozens of fields.
    final class Request: Sendable {
        let interception: NewInterception
        /// Nil for a call that is refused anyway.
        let demand: HoldDemand?
        /// Budgets that apply besides its user's month.
        let rules: [BudgetRule]
        /// Limits that apply.
        let uses: [RateUse]
        let turn: CallClass
        /// Whether it is told that others are in its way (`LimitBusy`) and nothing is put on record, so that it can be tried again.
        let mayWait: Bool
        /// Nobody asked for it: its refusal is not put on record.
        let isExtra: Bool
        /// The key that the call claims.
        let claim: KeyClaim?

        init(
            interception: NewInterception, demand: HoldDemand?, rules: [BudgetRule] = [], uses: [RateUse] = [],
            turn: CallClass = .interactive, mayWait: Bool = false, isExtra: Bool = false, claim: KeyClaim? = nil
        ) {
            self.interception = interception
            self.demand = demand
            self.rules = rules
            self.uses = uses
            self.turn = turn
            self.mayWait = mayWait
            self.isExtra = isExtra
            self.claim = claim
        }

        /// The same, told when others are in its way.
        var waiting: Request {
            Request(interception: interception, demand: demand, rules: rules, uses: uses, turn: turn, mayWait: true, claim: claim)
        }
    }

    struct Grant: Sendable {
        var amount: NanoDollars
        /// Ascending.
        var budgets: [Int64]
        /// The counters of limits that it is in.
        var counters: [Int64] = []
        var threadParent: UUID?
        var threadRoot: UUID?
        /// The number of its entry in the chain, or of a later one: the answer is released when it is on disk.
        var entry: Int64 = 0
        /// `AuditChain.losses` at the time.
        var generation: Int
    }

    private let chain: AuditChain
    private let doubts: HoldDoubts
    private let patience: Duration
    /// Nil looks where the chain stands, and what became of holds in doubt.
    private let batcher: Batcher<Request?, Grant?>

    /// - Parameters:
    ///   - patience: how long a caller waits for its hold.
    ///   - alerts: notices budgets that reach a threshold.
    ///   - onOrphan: books a hold that stands although its call was refused and never sent.
    init(
        pool: PostgresPool, chain: AuditChain, patience: Duration, alerts: BudgetAlerts,
        onOrphan: @escaping @Sendable (Request, HoldDoubts.Found) -> Void
    ) {
        self.chain = chain
        self.patience = patience
        let doubts = HoldDoubts(pool: pool)
        let memory = HoldMemory()
        self.doubts = doubts
        batcher = Batcher(largest: 256) { batch in
            if batch.contains(where: { $0 == nil }) {
                await chain.recheck(pool)
                for (request, found) in await doubts.resolve() { onOrphan(request, found) }
            }
            // Nobody waits for those any more: what the database was too slow for is not made up for later.
            let wanted = batch.map { $0.map { !doubts.dropUnsent($0) } ?? false }
            let requests = zip(batch, wanted).compactMap { $1 ? $0 : nil }
            let results = requests.isEmpty ? [] : await Self.perform(requests, pool, chain, doubts, alerts, memory)
            var outcomes = results.makeIterator()
            return zip(batch, wanted).map { request, isWanted in
                if isWanted, let outcome = outcomes.next() { return outcome.map { Grant?.some($0) } }
                return request == nil ? .success(nil) : .failure(LateHold())
            }
        }
    }

    /// Returns when the hold, or the refusal, is committed.
    ///
    /// - Throws: `budgetExceeded` when too little is left; `rateLimited`; `LimitBusy` to those who may wait; the refusal of a request that has one; `unavailable` without the database.
    func take(_ request: Request) async throws -> Grant {
        do {
            guard let grant = try await batcher.submit(request, within: patience) else {
                throw AppError(.internal, "The hold has no outcome.")
            }
            return grant
        } catch let late as LateHold {
            doubts.note([request])
            throw AppError(
                .unavailable,
                "The database did not put the call on record within \(patience.components.seconds) seconds, so it was not sent. Try again.",
                retry: .after(.seconds(2)), cause: late)
        }
    }

    /// Callers whose time is up are told so.
    func expire() { batcher.expire(LateHold()) }

    /// The database may have lost entries.
    func recheck() { batcher.post([nil]) }

    /// Holds that stand though their calls were refused are found and booked.
    func resolveDoubts() { if !doubts.isEmpty { recheck() } }

    func idle() async { await batcher.idle() }

    private struct LateHold: Error {}

    private static func perform(
        _ batch: [Request], _ pool: PostgresPool, _ chain: AuditChain, _ doubts: HoldDoubts,
        _ alerts: BudgetAlerts, _ memory: HoldMemory
    ) async -> [Result<Grant, any Error>] {
        do {
            return try await HoldTransaction(pool: pool, chain: chain, alerts: alerts, memory: memory, batch: batch).run()
        } catch let error as PostgresError where !error.isTransient && batch.count > 1 {
            // One bad request must not take the others with it.
            var results: [Result<Grant, any Error>] = []
            for request in batch { results += await perform([request], pool, chain, doubts, alerts, memory) }
            return results
        } catch let error as PostgresError where error.isUniqueViolation {
            return batch.map { _ in
                .failure(
                    AppError(
                        .conflict, "There is a model call with this id already; every call needs one of its own.", cause: error))
            }
        } catch {
            // Without an answer to the commit nobody knows whether it took effect.
            if (error as? PostgresError)?.isConnectionLost ?? !(error is AppError) { doubts.note(batch) }
            let reason =
                (error as? PostgresError)?.isDiskFull == true
                ? "The disk of the database is full: the call could not be put on record, so it was not sent. An operator must make room."
                : "The call could not be put on record, so it was not sent. Try again."
            let failure =
                error as? AppError
                ?? AppError(.unavailable, reason, detail: "\(error)", retry: .after(.seconds(2)), cause: error)
            return batch.map { _ in .failure(failure) }
        }
    }
}
