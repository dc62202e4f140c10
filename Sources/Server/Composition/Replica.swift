import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// This server process among its peers: a row that is refreshed every second; one not seen for 4 s counts as dead.
package final class Replica: Sendable {
    package static let interval = Duration.seconds(1)

    package let id: ReplicaID
    /// Grows with every server start.
    package let epoch: Int64
    private let pool: PostgresPool
    private let logger: Logger
    private let lastSeen = NIOLockedValueBox(ContinuousClock.now)

    package static func register(_ pool: PostgresPool, internalURL: String, host: String, keyPrints: [String] = [], logger: Logger)
        async throws -> Replica
    {
        let id = ReplicaID()
        let rows = try await pool.query(
            """
            INSERT INTO replicas (id, internal_url, host, epoch, version, key_prints)
            VALUES (\(id), \(internalURL), \(host), nextval('replica_epochs'), \(SlipwayVersion.current), \(keyPrints)) RETURNING epoch
            """)
        return Replica(id: id, epoch: try rows[0]["epoch"], pool: pool, logger: logger)
    }

    private init(id: ReplicaID, epoch: Int64, pool: PostgresPool, logger: Logger) {
        self.id = id
        self.epoch = epoch
        self.pool = pool
        self.logger = logger
    }

    /// How long ago the database confirmed that this replica lives.
    package var silence: Duration { lastSeen.withLockedValue { $0 }.duration(to: .now) }

    /// Beats until it is cancelled.
    package func run() async {
        var isLost = false
        while !Task.isCancelled {
            let asked = ContinuousClock.now
            do {
                try await pool.execute("UPDATE replicas SET seen_at = now() WHERE id = \(id)")
                lastSeen.withLockedValue { $0 = asked }
                if isLost { logger.notice("The database answers again.") }
                isLost = false
            } catch is CancellationError {
                return
            } catch {
                if !isLost { logger.warning("The database does not answer the heartbeat.", metadata: ["error": "\(error)"]) }
                isLost = true
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Peers need not wait for the 4 s: the row stays, for what refers to it, but counts as dead at once.
    package func leave() async {
        _ = try? await pool.execute("UPDATE replicas SET seen_at = now() - interval '1 hour' WHERE id = \(id)")
    }
}
