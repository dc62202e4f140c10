import CPostgres
import Core
import NIOConcurrencyHelpers

/// A connection lent by the pool, good until the closure that got it returns.
///
/// Calls from several tasks run one after the other. What is set on the session (`SET`, advisory locks) stays when it goes back:
/// use `SET LOCAL` and transaction locks.
package final class PostgresConnection: Sendable {
    let channel: Channel
    /// Sent in front of the next statement, in the same round trip: BEGIN and its options.
    private let opening = NIOLockedValueBox<[Query]>([])
    /// The open transaction was committed by `commit(after:)`.
    private let isCommitted = NIOLockedValueBox(false)

    init(_ channel: Channel) { self.channel = channel }

    /// The rows of one statement.
    ///
    /// - Throws: `PostgresError`; `CancellationError`: PostgreSQL was asked to stop, but outside of a transaction it may be committed.
    package func query(_ query: Query) async throws -> [Row] { try await run([query])[0].rows }

    /// Rows that were inserted, updated, deleted or selected.
    @discardableResult
    package func execute(_ query: Query) async throws -> Int { try await run([query])[0].affected }

    /// Sends all statements at once and returns the rows of each. Outside of a transaction they are one: all or none.
    @discardableResult
    package func pipeline(_ queries: [Query]) async throws -> [[Row]] { try await run(queries).map(\.rows) }

    /// Sends the last statements of the transaction and its COMMIT at once: a round trip less while rows are locked.
    ///
    /// When a statement fails nothing of the transaction takes effect. Afterwards only the end of `withTransaction` may follow.
    @discardableResult
    package func commit(after queries: [Query]) async throws -> [[Row]] {
        let results = try await run(queries + ["COMMIT"], isCancellable: false)
        isCommitted.withLockedValue { $0 = true }
        return results.dropLast().map(\.rows)
    }

    /// Runs text of any number of statements, without values; for migrations.
    package func script(_ text: String) async throws {
        let opening = takeOpening()
        if !opening.isEmpty { _ = try await perform(.pipeline(opening), isCancellable: false) }
        _ = try await perform(.script(text), isCancellable: true)
    }

    private func run(_ queries: [Query], isCancellable: Bool = true) async throws -> [ResultSet] {
        for query in queries { if let failure = query.failure { throw failure } }
        if queries.isEmpty { return [] }
        if isCancellable { try Task.checkCancellation() }
        let opening = takeOpening()
        let results = try await perform(.pipeline(opening + queries), isCancellable: isCancellable)
        guard results.count == opening.count + queries.count else {
            throw AppError(.internal, "PostgreSQL answered \(results.count) of \(queries.count) statements.")
        }
        return Array(results[opening.count...])
    }

    private func takeOpening() -> [Query] {
        opening.withLockedValue { opening in
            defer { opening = [] }
            return opening
        }
    }

    private func perform(_ content: Exchange.Content, isCancellable: Bool) async throws -> [ResultSet] {
        let box = NIOLockedValueBox<(exchange: Exchange?, isCancelled: Bool)>((nil, false))
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let exchange = Exchange(content) { continuation.resume(with: $0) }
                let isCancelled = box.withLockedValue {
                    $0.exchange = exchange
                    return $0.isCancelled
                }
                channel.submit(exchange)
                if isCancelled { channel.submitCancel(exchange) }
            }
        } onCancel: {
            guard isCancellable else { return }
            let exchange = box.withLockedValue {
                $0.isCancelled = true
                return $0.exchange
            }
            if let exchange { channel.submitCancel(exchange) }
        }
    }

    // MARK: Transactions

    /// Commits when `body` returns, rolls back when it throws. Nothing is repeated: after `isSerializationFailure` the caller may.
    ///
    /// - Throws: what `body` throws; `PostgresError` of the commit. A lost connection during the commit leaves open whether it took effect.
    @discardableResult
    package func withTransaction<Value: Sendable>(
        synchronousCommit: Bool = true, _ body: (PostgresConnection) async throws -> Value
    ) async throws -> Value {
        isCommitted.withLockedValue { $0 = false }
        opening.withLockedValue { $0 = synchronousCommit ? ["BEGIN"] : ["BEGIN", "SET LOCAL synchronous_commit = off"] }
        let value: Value
        do {
            value = try await body(self)
        } catch {
            if takeOpening().isEmpty, !isCommitted.withLockedValue({ $0 }) {
                do { _ = try await run(["ROLLBACK"], isCancellable: false) } catch { channel.submitClose() }
            }
            throw error
        }
        // A transaction without any statement was never begun.
        guard takeOpening().isEmpty, !isCommitted.withLockedValue({ $0 }) else { return value }
        let outcome = try await run(["COMMIT"], isCancellable: false)
        guard outcome[0].tag == "COMMIT" else {
            throw PostgresError(
                sqlState: "25P02",
                message: "The transaction was rolled back: a statement in it had failed and the error was ignored.")
        }
        return value
    }
}
