import AuditProof
import Core
import Foundation
import Logging
import Postgres

/// Removes what is beyond its time, in batches, each with its tombstones and its fact in one transaction.
package final class Retention: Sendable {
    package struct Removed: Sendable, Equatable {
        package var contents = 0
        package var records = 0
        package var chunks = 0
    }

    private let pool: PostgresPool
    private let facts: AuditFacts
    private let logger: Logger

    private static let interval = Duration.seconds(60)
    /// Calls looked at in one transaction.
    static let batchSize = 500

    init(pool: PostgresPool, facts: AuditFacts, logger: Logger) {
        self.pool = pool
        self.facts = facts
        self.logger = logger
    }

    /// Until cancelled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.interval)
            if Task.isCancelled { return }
            do {
                let removed = try await sweep()
                if removed != Removed() {
                    logger.info(
                        "retention removed what was beyond its time",
                        metadata: [
                            "contents": "\(removed.contents)", "records": "\(removed.records)", "chunks": "\(removed.chunks)",
                        ])
                }
            } catch {
                if !Task.isCancelled { logger.warning("retention could not go on", metadata: ["error": "\(error)"]) }
            }
        }
    }

    /// Everything that is beyond its time now.
    ///
    /// - Parameter now: instead of the database's time.
    @discardableResult
    package func sweep(now: Date? = nil) async throws -> Removed {
        var removed = Removed()
        let rules = try await pool.query(
            """
            SELECT organization_id, content_days, record_days FROM audit_rules
            WHERE content_days IS NOT NULL OR record_days IS NOT NULL ORDER BY organization_id LIMIT 1000
            """)
        for row in rules {
            let organization = try row["organization_id", as: OrganizationID.self]
            let contentDays = try row["content_days", as: Int?.self]
            let recordDays = try row["record_days", as: Int?.self]
            if let contentDays {
                removed.contents += try await all(.content, organization, days: contentDays, now)
            }
            if let recordDays {
                removed.records += try await all(.interception, organization, days: recordDays, now)
            }
            if let days = contentDays ?? recordDays { removed.chunks += try await chunks(organization, days: days, now) }
        }
        return removed
    }

    private func all(_ what: Tombstone.What, _ organization: OrganizationID, days: Int, _ now: Date?) async throws -> Int {
        var count = 0
        while true {
            let batch = RetentionBatch(organization: organization, what: what, days: days, now: now)
            let (removed, isLast) = try await facts.record { try await batch.run($0) }
            count += removed
            if isLast { return count }
            try Task.checkCancellation()
        }
    }

    /// Chunks that no content within its time can refer to: not used since. Those of held content are used as long as they are held.
    private func chunks(_ organization: OrganizationID, days: Int, _ now: Date?) async throws -> Int {
        var count = 0
        while true {
            let removed = try await pool.withTransaction { connection -> Int in
                // A day more: clocks differ.
                let limit: Query = """
                    ((coalesce(\(now)::timestamptz, now()) AT TIME ZONE 'UTC')::date - \(days + 1)::int)
                    """
                let isDue = try await !connection.query(
                    "SELECT FROM ai_chunks WHERE organization_id = \(organization) AND used_on < \(limit) LIMIT 1"
                ).isEmpty
                if !isDue { return 0 }
                try await connection.execute("LOCK TABLE audit_legal_holds IN SHARE MODE")
                try await connection.execute(
                    """
                    UPDATE ai_chunks SET used_on = (coalesce(\(now)::timestamptz, now()) AT TIME ZONE 'UTC')::date
                    WHERE organization_id = \(organization) AND used_on < \(limit) AND hash IN (
                        SELECT substring(c.chunks FROM g * 32 + 1 FOR 32)
                        FROM ai_interceptions i JOIN ai_contents c ON c.interception_id = i.id,
                             generate_series(0, length(c.chunks) / 32 - 1) AS g
                        WHERE i.organization_id = \(organization) AND \(unsafeSQL: LegalHold.condition))
                    """)
                return try await connection.query(
                    """
                    DELETE FROM ai_chunks WHERE ctid = ANY(ARRAY(
                        SELECT ctid FROM ai_chunks WHERE organization_id = \(organization) AND used_on < \(limit) LIMIT 2000))
                    AND used_on < \(limit) RETURNING 1
                    """
                ).count
            }
            count += removed
            if removed == 0 { return count }
            try Task.checkCancellation()
        }
    }
}
