import Core
import Foundation
import Postgres

/// Who works on what. A worker that was not seen for four seconds is dead, and its tasks are anybody's.
package struct LeaseStore: Sendable {
    private let pool: PostgresPool

    package init(_ pool: PostgresPool) { self.pool = pool }

    /// Makes a worker known. Earlier workers of the same replica are gone: it is one process.
    package func register(worker: UUID, replica: ReplicaID) async throws {
        _ = try await pool.withConnection {
            try await $0.pipeline([
                "DELETE FROM task_workers WHERE replica_id = \(replica) AND id <> \(worker)",
                "DELETE FROM task_workers WHERE seen_at < now() - interval '1 hour'",
                Self.seen(worker, replica),
            ])
        }
    }

    /// False when the worker is not known any more: it was unregistered, or the database lost it in a crash.
    package func renew(worker: UUID) async throws -> Bool {
        try await pool.execute("UPDATE task_workers SET seen_at = clock_timestamp() WHERE id = \(worker)") == 1
    }

    private static func seen(_ worker: UUID, _ replica: ReplicaID) -> Query {
        """
        INSERT INTO task_workers (id, replica_id, seen_at) VALUES (\(worker), \(replica), clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp()
        """
    }

    /// Gives everything back; its tasks can be claimed at once.
    package func unregister(worker: UUID) async throws {
        _ = try await pool.withConnection {
            try await $0.pipeline([
                """
                UPDATE tasks SET status = 'queued', worker_id = NULL, running_since = NULL, active_ms = active_ms + \(unsafeSQL: Self.runTime)
                WHERE worker_id = \(worker)
                """,
                "DELETE FROM task_workers WHERE id = \(worker)",
            ])
        }
    }

    /// Milliseconds since the task was claimed.
    static let runTime = "COALESCE((extract(epoch FROM clock_timestamp() - running_since) * 1000)::bigint, 0)"

    /// Takes tasks that can go on and that nobody owns, the longest waiting first.
    package func claim(worker: UUID, limit: Int) async throws -> [Lease] {
        let rows = try await pool.query(
            """
            UPDATE tasks t SET
                worker_id = \(worker), fence = fence + 1, status = 'running', reason = NULL, message = NULL, wake_at = NULL,
                -- of an owner that died, what it had written last is the last that is known of it
                active_ms = active_ms + COALESCE((extract(epoch FROM greatest(updated_at - running_since, interval '0')) * 1000)::bigint, 0),
                running_since = clock_timestamp()
            WHERE t.id IN (
                SELECT id FROM tasks
                WHERE status IN ('queued', 'running', 'waiting') AND (wake_at IS NULL OR wake_at <= clock_timestamp())
                    AND (worker_id IS NULL OR (worker_id <> \(worker) AND NOT EXISTS (
                        SELECT 1 FROM task_workers w
                        WHERE w.id = tasks.worker_id AND w.seen_at > clock_timestamp() - interval '4 seconds')))
                ORDER BY wake_at NULLS FIRST, number
                LIMIT \(limit) FOR UPDATE SKIP LOCKED)
            RETURNING id, fence
            """)
        return try rows.map { Lease(task: try $0["id"], worker: worker, fence: try $0["fence"]) }
    }

    /// What a worker owns, and who wants it interrupted.
    package func owned(by worker: UUID) async throws -> [(lease: Lease, interruptBy: String?)] {
        let rows = try await pool.query("SELECT id, fence, interrupt_by FROM tasks WHERE worker_id = \(worker)")
        return try rows.map { (Lease(task: try $0["id"], worker: worker, fence: try $0["fence"]), try $0["interrupt_by"]) }
    }
}
