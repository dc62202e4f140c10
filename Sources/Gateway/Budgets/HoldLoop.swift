import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Takes holds for all calls that wait, in one transaction: locks their budgets in ascending order, and writes the holds, the
/// interceptions and their audit entries. The commit does not wait for the disk; whoever releases an answer does (`FlushLoop`).
final class HoldLoop: Sendable {
    struct Request: Sendable {
        var interception: NewInterception
        /// Nil for a call that is refused anyway.
        var demand: HoldDemand?
    }

    struct Grant: Sendable {
        var amount: NanoDollars
        var budgets: [Int64]
        var threadParent: UUID?
        var threadRoot: UUID?
        /// `AuditChain.losses` at the time.
        var generation: Int
    }

    private let pool: PostgresPool
    private let chain: AuditChain
    /// Nil looks where the chain stands.
    private let batcher: Batcher<Request?, Grant?>

    init(pool: PostgresPool, chain: AuditChain) {
        self.pool = pool
        self.chain = chain
        batcher = Batcher(largest: 256) { batch in
            if batch.contains(where: { $0 == nil }) { await chain.recheck(pool) }
            let requests = batch.compactMap { $0 }
            var results = requests.isEmpty ? [] : await Self.perform(requests, pool, chain).map { $0.map { Grant?.some($0) } }
            for index in batch.indices where batch[index] == nil { results.insert(.success(nil), at: index) }
            return results
        }
    }

    /// Returns when the hold, or the refusal, is committed.
    ///
    /// - Throws: `budgetExceeded` when too little is left; the refusal of a request that has one; `unavailable` without the database.
    func take(_ request: Request) async throws -> Grant {
        guard let grant = try await batcher.submit(request) else { throw AppError(.internal, "The hold has no outcome.") }
        return grant
    }

    /// The database may have lost entries.
    func recheck() { batcher.post([nil]) }

    func idle() async { await batcher.idle() }

    private static func perform(
        _ batch: [Request], _ pool: PostgresPool, _ chain: AuditChain
    ) async -> [Result<Grant, any Error>] {
        do {
            return try await HoldTransaction(pool: pool, chain: chain, batch: batch).run()
        } catch let error as PostgresError where !error.isConnectionLost && batch.count > 1 {
            // One bad request must not take the others with it.
            var results: [Result<Grant, any Error>] = []
            for request in batch { results += await perform([request], pool, chain) }
            return results
        } catch let error as PostgresError where error.isUniqueViolation {
            return batch.map { _ in
                .failure(
                    AppError(
                        .conflict, "There is a model call with this id already; every call needs one of its own.", cause: error))
            }
        } catch {
            let failure =
                error as? AppError
                ?? AppError(
                    .unavailable, "The call could not be put on record, so it was not sent. Try again.", detail: "\(error)",
                    retry: .after(.seconds(2)), cause: error)
            return batch.map { _ in .failure(failure) }
        }
    }
}
