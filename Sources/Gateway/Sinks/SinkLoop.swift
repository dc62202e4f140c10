import AuditProof
import Core
import Foundation
import Logging
import Postgres

/// Sends every entry to every sink, in each chain in order, at least once: a sink's cursor moves only behind what it took. One server at a
/// time sends to a sink; what a server did not finish, the next one sends again.
package final class SinkLoop: Sendable {
    private let pool: PostgresPool
    private let keys: KeyRing
    private let delivery: SinkDelivery
    private let replica: ReplicaID
    private let logger: Logger

    private static let interval = Duration.seconds(1)
    /// Entries in one delivery.
    private static let batchSize = 200

    init(pool: PostgresPool, keys: KeyRing, delivery: SinkDelivery, replica: ReplicaID, logger: Logger) {
        self.pool = pool
        self.keys = keys
        self.delivery = delivery
        self.replica = replica
        self.logger = logger
    }

    /// Until cancelled.
    func run() async {
        while !Task.isCancelled {
            do { try await sendAll() } catch {
                if !Task.isCancelled { logger.debug("sinks could not be read", metadata: ["error": "\(error)"]) }
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    private func sendAll() async throws {
        let sinks = try await due()
        await withTaskGroup(of: Void.self) { group in
            for sink in sinks {
                group.addTask { await self.drain(sink) }
            }
        }
    }

    /// Those that are not left alone for now, leased to this server: longer than a delivery can take.
    private func due() async throws -> [AuditSink] {
        try await pool.query(
            """
            UPDATE audit_sinks SET leased_by = \(replica), leased_until = now() + interval '60 seconds'
            WHERE next_at <= now() AND (leased_by = \(replica) OR leased_until < now())
            RETURNING \(unsafeSQL: SinkService.columns)
            """
        ).map { try SinkService.sink($0, keys) }
    }

    /// Until nothing is behind, for at most half of the lease.
    private func drain(_ sink: AuditSink) async {
        let end = ContinuousClock.now + .seconds(30)
        do {
            while ContinuousClock.now < end, !Task.isCancelled {
                let (entries, reached) = try await behind(sink)
                if entries.isEmpty { return }
                try await delivery.deliver(entries, to: sink)
                try await moved(sink, to: reached)
            }
        } catch {
            if Task.isCancelled { return }
            await failed(sink, error)
        }
    }

    /// What comes next, of all chains: as far as it is known to be on disk, so that nothing is sent that a crash takes back.
    private func behind(_ sink: AuditSink) async throws -> (entries: [(link: AuditLink, line: String)], reached: [UUID: Int64]) {
        try await pool.withConnection { connection in
            let links = try await connection.query(
                """
                SELECT e.chain, e.n, e.prev, e.digest, e.kind, e.subject, e.at
                FROM \(AuditChain.behind(sink.follower, limit: Self.batchSize, "(c.name = 'facts' OR e.n <= c.flushed)"))
                """
            ).map { try AuditLink($0) }
            var taken: [AuditLink] = []
            for (_, chain) in Dictionary(grouping: links, by: \.chain).sorted(by: { $0.value[0].at < $1.value[0].at }) {
                taken += chain.sorted { $0.n < $1.n }.prefix(Self.batchSize - taken.count)
            }
            let rows = try await RecordRows(connection: connection).read(taken)
            var reached: [UUID: Int64] = [:]
            let entries = try taken.map { link -> (link: AuditLink, line: String) in
                reached[link.chain] = link.n
                let record = rows[link.kind]?[link.subject].flatMap { try? AuditRecord($0) }
                return (link, try ExportLine.entry(link, record).text())
            }
            return (entries, reached)
        }
    }

    private func moved(_ sink: AuditSink, to reached: [UUID: Int64]) async throws {
        try await pool.withTransaction { connection in
            // A sink that was removed meanwhile leaves no cursors.
            let isThere = try await connection.execute(
                """
                UPDATE audit_sinks SET failures = 0, last_error = NULL, delivered_at = now(), leased_until = now() + interval '60 seconds'
                WHERE id = \(sink.id) AND leased_by = \(self.replica)
                """)
            if isThere == 0 { return }
            try await connection.execute(
                """
                INSERT INTO audit_cursors (follower, chain, n)
                SELECT \(sink.follower), chain, n FROM unnest(\(Array(reached.keys)), \(Array(reached.values))) AS t (chain, n)
                ON CONFLICT (follower, chain) DO UPDATE SET n = greatest(audit_cursors.n, excluded.n)
                """)
        }
    }

    private func failed(_ sink: AuditSink, _ error: any Error) async {
        let message = (error as? AppError)?.message ?? "\(error)"
        if sink.failures == 0 {
            logger.warning("an audit sink takes nothing", metadata: ["sink": "\(sink.name)", "error": "\(message)"])
        }
        let pause = SinkBackoff.pause(afterFailures: sink.failures + 1)
        _ = try? await pool.execute(
            """
            UPDATE audit_sinks SET failures = failures + 1, last_error = \(message.storable(upTo: 1000)),
                   next_at = now() + \(Int(pause / .seconds(1)))::int * interval '1 second', leased_until = 'epoch'
            WHERE id = \(sink.id)
            """)
    }
}
