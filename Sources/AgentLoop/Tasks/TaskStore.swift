import Core
import Foundation
import Postgres

/// Tasks as people read and change them. What a principal may not see does not exist for it.
package struct TaskStore: Sendable {
    let pool: PostgresPool

    package init(_ pool: PostgresPool) { self.pool = pool }

    /// Everybody reads their own tasks; owners, admins and auditors of the organization read all.
    static func readable(by principal: Principal) -> Query {
        let all = !principal.roles.isDisjoint(with: [.owner, .admin, .auditor])
        return "t.organization_id = \(principal.organization) AND (\(all) OR t.owner_id = \(principal.user))"
    }

    private static let columns = """
        t.id, t.organization_id, t.owner_id, u.username AS owner_name, t.name, t.title, t.model, t.status, t.reason, t.message,
        t.max_cost, t.max_steps, t.max_seconds, t.cost, t.steps, t.workspace_id, t.repository, t.base_branch, t.base_commit, t.head_commit,
        t.result_bundle IS NOT NULL AS has_bundle, t.changed_files, t.additions, t.deletions, t.last_seq, t.created_at, t.updated_at,
        t.wake_at, t.number, t.active_ms + \(LeaseStore.runTime) AS active_ms,
        (SELECT count(*) FROM task_messages m WHERE m.task_id = t.id) AS queued_messages
        """

    // MARK: Reading

    package func get(_ principal: Principal, _ id: TaskID) async throws -> TaskRecord? {
        let rows = try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM tasks t JOIN users u ON u.id = t.owner_id
            WHERE \(Self.readable(by: principal)) AND t.id = \(id)
            """)
        return try rows.first.map(Self.record)
    }

    package func find(_ principal: Principal, name: String) async throws -> TaskRecord? {
        let rows = try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM tasks t JOIN users u ON u.id = t.owner_id
            WHERE \(Self.readable(by: principal)) AND t.name = \(name)
            """)
        return try rows.first.map(Self.record)
    }

    /// The newest first.
    package func list(
        _ principal: Principal, owner: UserID?, statuses: [TaskStatus], before: Int64?, limit: Int
    ) async throws -> [(record: TaskRecord, number: Int64)] {
        let rows = try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM tasks t JOIN users u ON u.id = t.owner_id
            WHERE \(Self.readable(by: principal))
                AND (\(owner)::uuid IS NULL OR t.owner_id = \(owner)::uuid)
                AND (\(statuses.isEmpty) OR t.status = ANY(\(statuses.map(\.rawValue))))
                AND (\(before)::bigint IS NULL OR t.number < \(before)::bigint)
            ORDER BY t.number DESC LIMIT \(limit)
            """)
        return try rows.map { (try Self.record($0), try $0["number"]) }
    }

    /// Nil when the task does not exist for the principal.
    package func events(_ principal: Principal, _ id: TaskID, after seq: Int, limit: Int) async throws -> [TaskEvent]? {
        let results = try await pool.withConnection {
            try await $0.pipeline([
                "SELECT 1 FROM tasks t WHERE \(Self.readable(by: principal)) AND t.id = \(id)",
                """
                SELECT seq, kind, at, payload::text AS payload FROM task_events
                WHERE task_id = \(id) AND seq > \(seq) ORDER BY seq LIMIT \(limit)
                """,
            ])
        }
        guard !results[0].isEmpty else { return nil }
        return try results[1].map { row in
            let word: String = try row["kind"]
            guard let kind = TaskEvent.Kind(rawValue: word) else {
                throw AppError(.internal, "The event kind '\(word)' is unknown.")
            }
            return TaskEvent(seq: try row["seq"], kind: kind, at: try row["at"], payload: try EventCoding.value(try row["payload"]))
        }
    }

    private static func record(_ row: Row) throws -> TaskRecord {
        let status: String = try row["status"]
        let maxSteps: Int? = try row["max_steps"]
        let maxSeconds: Int? = try row["max_seconds"]
        let active: Int = try row["active_ms"]
        return TaskRecord(
            id: try row["id"], organization: try row["organization_id"], owner: try row["owner_id"],
            ownerName: try row["owner_name"],
            name: try row["name"], title: try row["title"], model: try row["model"],
            status: TaskStatus(rawValue: status) ?? .failed,
            reason: try row["reason"], message: try row["message"],
            limits: TaskLimits(cost: try row["max_cost"], steps: maxSteps, seconds: maxSeconds), cost: try row["cost"],
            steps: try row["steps"], activeSeconds: Double(active) / 1000, workspace: try row["workspace_id"],
            repository: try row["repository"],
            baseBranch: try row["base_branch"], baseCommit: try row["base_commit"], headCommit: try row["head_commit"],
            hasBundle: try row["has_bundle"], changedFiles: try row["changed_files"], additions: try row["additions"],
            deletions: try row["deletions"], queuedMessages: try row["queued_messages"], lastSeq: try row["last_seq"],
            createdAt: try row["created_at"], updatedAt: try row["updated_at"], wakeAt: try row["wake_at"])
    }

    /// The files a task hands out: its bundle and its diff.
    package func results(_ principal: Principal, _ id: TaskID) async throws -> (bundle: UUID?, diff: UUID?)? {
        let rows = try await pool.query(
            "SELECT result_bundle, result_diff FROM tasks t WHERE \(Self.readable(by: principal)) AND t.id = \(id)")
        return try rows.first.map { (try $0["result_bundle"], try $0["result_diff"]) }
    }
}
