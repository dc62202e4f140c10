import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// The synchronous commit that everybody waits for whose answer must not be released before it is on record.
///
/// Rows and entries are committed without waiting for the disk. One later synchronous commit makes all of them durable, since the
/// write-ahead log is written in order. It checks first that the heads it knows are still there: a database that crashed meanwhile
/// came back without the newest of them.
final class FlushLoop: Sendable {
    /// A model answers later than that: calls that came in together, or one after the other, then cost one flush.
    private static let linger = Duration.milliseconds(5)

    private let pool: PostgresPool
    private let chains: [AuditChain]
    private let patience: Duration
    private let logger: Logger
    private let flushed = NIOLockedValueBox<[UUID: Int64]>([:])
    private let onFlush: @Sendable ([UUID: Int64]) -> Void
    private let onLoss: @Sendable () -> Void
    private let batcher = NIOLockedValueBox<Batcher<Void, Void>?>(nil)

    /// - Parameters:
    ///   - onFlush: up to which number each chain is on disk.
    ///   - onLoss: the heads must be read again.
    init(
        pool: PostgresPool, chains: [AuditChain], patience: Duration, logger: Logger,
        onFlush: @escaping @Sendable ([UUID: Int64]) -> Void,
        onLoss: @escaping @Sendable () -> Void
    ) {
        self.pool = pool
        self.chains = chains
        self.patience = patience
        self.logger = logger
        self.onFlush = onFlush
        self.onLoss = onLoss
        let perform: @Sendable ([Void]) async -> [Result<Void, any Error>] = { [weak self] batch in
            guard let self else { return batch.map { _ in .failure(CancellationError()) } }
            do {
                try await flushNow()
                return batch.map { _ in .success(()) }
            } catch {
                return batch.map { _ in .failure(error) }
            }
        }
        batcher.withLockedValue { $0 = Batcher(largest: 100_000, linger: Self.linger, perform: perform) }
    }

    /// Returns when everything that was committed before the call is on disk.
    ///
    /// - Throws: `unavailable` when that fails or takes longer than the patience.
    func wait() async throws {
        guard let batcher = batcher.withLockedValue({ $0 }) else { return }
        do {
            try await batcher.submit((), within: patience)
        } catch {
            throw AppError(
                .unavailable, "The call could not be put on record, so its answer is withheld. Try again.",
                retry: .after(.seconds(2)), cause: error)
        }
    }

    /// Returns at once when this entry is known to be on disk.
    func wait(for entry: Int64, of chain: AuditChain) async throws {
        if flushed.withLockedValue({ $0[chain.id] ?? 0 }) < entry { try await wait() }
    }

    /// Something was committed that somebody will wait for: the disk has it soon, or as soon as somebody does.
    func post() { batcher.withLockedValue { $0 }?.post([()]) }

    func expire() {
        batcher.withLockedValue { $0 }?.expire(AppError(.timeout, "The database did not confirm the record in time."))
    }

    func idle() async { await batcher.withLockedValue { $0 }?.idle() }

    /// Whether some committed entry is not known to be on disk.
    var isBehind: Bool { !unflushed().isEmpty }

    private func unflushed() -> [(chain: UUID, head: ChainHead)] {
        let flushed = flushed.withLockedValue { $0 }
        return chains.compactMap { chain in
            let head = chain.head
            return head.n > flushed[chain.id] ?? 0 ? (chain.id, head) : nil
        }
    }

    private func flushNow() async throws {
        let heads = unflushed()
        if heads.isEmpty { return }
        let confirmed = try await pool.withConnection { connection in
            try await connection.pipeline([
                "SELECT set_config('synchronous_commit', 'on', true)",
                """
                UPDATE audit_chains c SET flushed = h.n
                FROM unnest(\(heads.map(\.chain)), \(heads.map(\.head.n)), \(heads.map(\.head.digest))) AS h (chain, n, digest)
                WHERE c.id = h.chain
                  AND h.digest = (SELECT e.digest FROM audit_entries e WHERE e.chain = h.chain AND e.n = h.n)
                RETURNING c.id
                """,
            ])[1].count
        }
        guard confirmed == heads.count else {
            logger.error("the database lost audit entries that it had committed, as it does when it crashes")
            onLoss()
            throw AppError(.unavailable, "The database lost what was just put on record.")
        }
        let reached = Dictionary(uniqueKeysWithValues: heads.map { ($0.chain, $0.head.n) })
        flushed.withLockedValue { $0.merge(reached) { max($0, $1) } }
        onFlush(reached)
    }
}
