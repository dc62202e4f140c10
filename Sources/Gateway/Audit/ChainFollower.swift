import Logging
import Postgres

/// Work behind the calls: goes along the audit chains, from where it was, each entry once for all servers.
protocol ChainFollower: Sendable {
    /// In `audit_cursors`.
    static var name: String { get }
    /// Entries of each chain in one transaction.
    static var batchSize: Int { get }
    /// Of PostgreSQL, for the time of a transaction: one server follows at a time.
    static var lock: Int64 { get }
    var logger: Logger { get }

    /// - Returns: how many entries were passed.
    @discardableResult func follow() async throws -> Int
}

extension ChainFollower {
    /// To be asked first in the transaction. False: another server follows now.
    ///
    /// What follows is planned by what the tables hold now. On a new database a plan that is kept would be that of empty tables, and read
    /// all of them for as long as nobody has looked at them.
    func isMine(_ connection: PostgresConnection) async throws -> Bool {
        let results = try await connection.pipeline([
            "SET LOCAL plan_cache_mode = force_custom_plan", "SELECT pg_try_advisory_xact_lock(\(Self.lock)) AS is_mine",
        ])
        return try results[1][0]["is_mine"]
    }

    /// Until cancelled. It rests four times as long as it works: under load it lags behind, and calls do not.
    func run() async {
        while !Task.isCancelled {
            let began = ContinuousClock.now
            var isBehind = false
            do { isBehind = try await follow() >= Self.batchSize } catch {
                if !Task.isCancelled {
                    logger.debug("a chain could not be followed", metadata: ["follower": "\(Self.name)", "error": "\(error)"])
                }
            }
            let took = began.duration(to: .now)
            try? await Task.sleep(for: isBehind ? took * 4 : max(.seconds(2), took * 4))
        }
    }
}

extension AuditChain {
    /// The next entries of each chain behind a follower's cursor, in no order: of `audit_chains` as `c`, `audit_cursors` as `k`, and
    /// `audit_entries` as `e`, to select from. A chain's numbers have no gaps, so these are a range, which needs no sorting.
    ///
    /// - Parameters:
    ///   - limit: of each chain.
    ///   - condition: on the entries.
    static func behind(_ follower: String, limit: Int, _ condition: Query = "true") -> Query {
        """
        audit_chains c LEFT JOIN audit_cursors k ON k.follower = \(follower) AND k.chain = c.id
        CROSS JOIN LATERAL (
            SELECT * FROM audit_entries e
            WHERE e.chain = c.id AND e.n > coalesce(k.n, 0) AND e.n <= coalesce(k.n, 0) + \(limit)::bigint AND \(condition)
            OFFSET 0
        ) e
        """
    }
}
