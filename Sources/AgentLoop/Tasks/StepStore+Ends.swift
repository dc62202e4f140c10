import Core
import Foundation
import Postgres

extension StepStore {
    func commitWorkspace(_ lease: Lease, _ workspace: WorkspaceID, baseCommit: String, baseBranch: String, branch: String)
        async throws
    {
        let event = NewEvent(.workspaceReady) {
            $0.workspaceID = workspace
            $0.branch = branch
            $0.commit = baseCommit
        }
        try await commit(
            lease, [event],
            [
                """
                UPDATE tasks SET workspace_id = \(workspace), base_commit = \(baseCommit), base_branch = COALESCE(base_branch, \(baseBranch))
                WHERE id = \(lease.task)
                """
            ])
    }

    /// The workspace is known before anything happens in it, so that nobody makes a second one.
    func commitWorkspaceID(_ lease: Lease, _ workspace: WorkspaceID) async throws {
        try await commit(lease, [], ["UPDATE tasks SET workspace_id = \(workspace) WHERE id = \(lease.task)"])
    }

    /// The turn's work takes the place of what an earlier turn saved.
    func commitWork(_ lease: Lease, _ work: SavedWork, branch: String) async throws {
        let event = NewEvent(.committed) {
            $0.branch = branch
            $0.commit = work.headCommit
            $0.changedFiles = work.changedFiles
            $0.additions = work.additions
            $0.deletions = work.deletions
        }
        try await commit(
            lease, work.isNew ? [event] : [],
            [
                """
                WITH old AS (SELECT result_bundle, result_diff FROM tasks WHERE id = \(lease.task)),
                new AS (
                    UPDATE tasks SET head_commit = \(work.headCommit), result_bundle = \(work.bundle), result_diff = \(work.diff),
                        changed_files = \(Int32(clamping: work.changedFiles)), additions = \(Int32(clamping: work.additions)),
                        deletions = \(Int32(clamping: work.deletions))
                    WHERE id = \(lease.task))
                DELETE FROM files USING old
                WHERE files.id IN (old.result_bundle, old.result_diff)
                    AND files.id IS DISTINCT FROM \(work.bundle) AND files.id IS DISTINCT FROM \(work.diff)
                """
            ])
    }

    /// Ends the turn and gives the lease back.
    ///
    /// - Parameter cost: of all its calls; nil leaves what is written.
    /// - Returns: false when the task is done but messages wait: then nothing is committed, and the turn goes on.
    func finish(_ lease: Lease, _ ending: Ending, interruptedBy: String?, cost: NanoDollars?) async throws -> Bool {
        let (event, status, reason, message) = Self.describe(ending, by: interruptedBy)
        let statements = try Self.statements(lease, [event])
        let isDone = status == .completed
        do {
            try await Self.translated(lease) {
                try await pool.withTransaction { connection in
                    // The guard locks the row, as whoever sends a message does: none can come in between.
                    try await connection.pipeline(statements)
                    if isDone {
                        let waiting = try await connection.query(
                            "SELECT 1 FROM task_messages WHERE task_id = \(lease.task) LIMIT 1")
                        if !waiting.isEmpty { throw MessagesWait() }
                    }
                    try await connection.execute(
                        """
                        UPDATE tasks SET status = \(status.rawValue), reason = \(reason), message = \(message), worker_id = NULL, wake_at = NULL,
                            interrupt_by = NULL, cost = COALESCE(\(cost), cost), active_ms = active_ms + \(unsafeSQL: LeaseStore.runTime), running_since = NULL
                        WHERE id = \(lease.task)
                        """)
                }
            }
            return true
        } catch is MessagesWait { return false }
    }

    private struct MessagesWait: Error {}

    private static func describe(_ ending: Ending, by: String?) -> (NewEvent, TaskStatus, reason: String?, message: String?) {
        switch ending {
        case .completed(let text): (NewEvent(.completed) { $0.text = text }, .completed, nil, nil)
        case .interrupted: (NewEvent(.interrupted) { $0.by = by }, .interrupted, nil, by.map { "Interrupted by \($0)." })
        case .paused(let reason, let message):
            (
                NewEvent(.paused) {
                    $0.reason = reason.rawValue; $0.text = message
                }, .paused, reason.rawValue, message
            )
        case .failed(let reason, let message):
            (
                NewEvent(.failed) {
                    $0.reason = reason.rawValue; $0.text = message
                }, .failed, reason.rawValue, message
            )
        }
    }

    /// Waits without holding anything; any worker goes on at that time.
    func wait(_ lease: Lease, _ delay: Duration, _ reason: WaitReason, message: String, failures: Int, now: Date) async throws {
        let seconds = Double(delay.components.seconds) + Double(delay.components.attoseconds) * 1e-18
        let event = NewEvent(.waiting) {
            $0.reason = reason.rawValue
            $0.text = message
            $0.until = now.addingTimeInterval(seconds)
        }
        try await commit(
            lease, [event],
            [
                """
                UPDATE tasks SET status = 'waiting', reason = \(reason.rawValue), message = \(message), worker_id = NULL,
                    wake_at = clock_timestamp() + make_interval(secs => \(seconds)), failures = \(Int32(failures)),
                    active_ms = active_ms + \(unsafeSQL: LeaseStore.runTime), running_since = NULL
                WHERE id = \(lease.task)
                """
            ])
    }

    /// Hands the task over as it is.
    func release(_ lease: Lease) async throws {
        try await commit(
            lease, [],
            [
                """
                UPDATE tasks SET status = 'queued', worker_id = NULL, active_ms = active_ms + \(unsafeSQL: LeaseStore.runTime),
                    running_since = NULL
                WHERE id = \(lease.task)
                """
            ])
    }
}
