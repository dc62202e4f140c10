import Core
import Foundation
import Postgres
import Provisioning

/// The SQL of workspaces and their builds.
struct WorkspaceStore: Sendable {
    let pool: PostgresPool
    /// This machine.
    let host: String

    private static let select: Query = """
        SELECT w.id, w.organization_id, w.name, w.owner_id, u.username, w.task_id, w.host, w.place, w.limits, w.created_at, w.deleted_at,
            b.number, b.transition, b.ended_cause, b.ended_message, j.status AS job_status, j.error,
            greatest(b.created_at, j.started_at, j.completed_at, b.ended_at) AS updated_at, s.sandbox, a.last_connected_at, a.disconnected_at,
            EXISTS (SELECT FROM replicas r WHERE r.host = w.host AND r.seen_at > now() - interval '6 s') AS host_seen
        FROM workspaces w
        JOIN users u ON u.id = w.owner_id
        JOIN LATERAL (SELECT * FROM workspace_builds b WHERE b.workspace_id = w.id ORDER BY b.number DESC LIMIT 1) b ON true
        JOIN provisioner_jobs j ON j.id = b.job_id
        LEFT JOIN LATERAL (
            SELECT s.sandbox FROM workspace_builds s
            WHERE s.workspace_id = w.id AND s.sandbox IS NOT NULL ORDER BY s.number DESC LIMIT 1) s ON true
        LEFT JOIN LATERAL (
            SELECT a.last_connected_at, a.disconnected_at FROM workspace_agents a
            WHERE a.workspace_id = w.id AND a.revoked_at IS NULL ORDER BY a.created_at DESC LIMIT 1) a ON true
        """

    private func workspaces(_ query: Query) async throws -> [Workspace] {
        try await pool.query(query).map { try Workspace(row: $0, ownHost: host) }
    }

    private func within(_ scope: WorkspaceScope) -> Query {
        "w.organization_id = \(scope.organization) AND (\(scope.owner) IS NULL OR w.owner_id = \(scope.owner))"
    }

    // MARK: Reading

    /// Also a deleted one.
    func find(_ scope: WorkspaceScope, _ id: WorkspaceID) async throws -> Workspace? {
        try await workspaces("\(Self.select) WHERE \(within(scope)) AND w.id = \(id)").first
    }

    /// The caller's own come before others' of the same name.
    func find(_ scope: WorkspaceScope, name: String, of user: UserID) async throws -> Workspace? {
        try await workspaces(
            """
            \(Self.select) WHERE \(within(scope)) AND lower(w.name) = lower(\(name)) AND w.deleted_at IS NULL
            ORDER BY w.owner_id <> \(user), w.id LIMIT 1
            """
        ).first
    }

    func find(_ organization: OrganizationID, task: TaskID) async throws -> Workspace? {
        try await workspaces("\(Self.select) WHERE w.organization_id = \(organization) AND w.task_id = \(task)").first
    }

    /// Newest first, without deleted ones.
    func list(_ scope: WorkspaceScope, _ page: PageRequest) async throws -> Page<Workspace> {
        let after = try page.after.map { text in
            guard let id = WorkspaceID(text) else {
                throw AppError(.badRequest, "'\(text)' is no cursor of this list.", field: "after")
            }
            return id
        }
        let items = try await workspaces(
            """
            \(Self.select) WHERE \(within(scope)) AND w.deleted_at IS NULL AND (\(after) IS NULL OR w.id < \(after))
            ORDER BY w.id DESC LIMIT \(page.limit + 1)
            """)
        let isMore = items.count > page.limit
        return Page(items: Array(items.prefix(page.limit)), next: isMore ? items[page.limit - 1].id.description : nil)
    }

    /// Everything of this machine that is not deleted.
    func here() async throws -> [Workspace] {
        try await workspaces("\(Self.select) WHERE w.host = \(host) AND w.deleted_at IS NULL ORDER BY w.id")
    }

    // MARK: Writing

    /// A new workspace in a free place of this machine, with its first build.
    ///
    /// - Throws: `conflict` when the owner has one of that name; `PostgresError` for a task that has one (`workspaces_task_id_key`).
    func create(_ principal: Principal, _ id: WorkspaceID, name: String, task: TaskID?, limits: SandboxLimits) async throws {
        let insert: Query = """
            WITH workspace AS (
                INSERT INTO workspaces (id, organization_id, owner_id, name, task_id, host, place, limits)
                SELECT \(id), \(principal.organization), \(principal.user), \(name), \(task), \(host), min(taken.place) + 1, \(JSON(limits))
                FROM (SELECT 0 AS place UNION ALL SELECT place FROM workspaces WHERE host = \(host)) taken
                WHERE NOT EXISTS (SELECT FROM workspaces next WHERE next.host = \(host) AND next.place = taken.place + 1)
                RETURNING id
            ), job AS (
                INSERT INTO provisioner_jobs (id, organization_id, type, tags)
                VALUES (\(JobID()), \(principal.organization), 'workspace_build', \([JobQueue.tag(host: host)]))
                RETURNING id
            )
            INSERT INTO workspace_builds (id, organization_id, workspace_id, number, transition, reason, initiator_id, job_id)
            SELECT \(BuildID()), \(principal.organization), workspace.id, 1, 'start', \(task == nil ? "initiator" : "task"),
                \(principal.user), job.id
            FROM workspace, job
            """
        do {
            try await pool.withTransaction { transaction in
                // Two at a time would choose the same place.
                try await transaction.pipeline([
                    "SELECT pg_advisory_xact_lock(hashtextextended(\("places of " + host), 0))", insert,
                ])
            }
        } catch let error as PostgresError where error.constraint == "workspaces_name" {
            throw AppError(.conflict, "You have a workspace '\(name)' already. Choose another name.", field: "name", cause: error)
        } catch let error as PostgresError where error.constraint == "workspaces_place_check" {
            throw AppError(.unavailable, "This machine has 65535 workspaces, which is all it can hold. Delete some.", cause: error)
        }
    }

    /// The build after `number`; false when another one came first.
    func addBuild(_ principal: Principal, _ workspace: Workspace, _ transition: Transition) async throws -> Bool {
        do {
            try await pool.execute(
                """
                WITH job AS (
                    INSERT INTO provisioner_jobs (id, organization_id, type, tags)
                    VALUES (\(JobID()), \(workspace.organization), 'workspace_build', \([JobQueue.tag(host: workspace.host)]))
                    RETURNING id
                )
                INSERT INTO workspace_builds (id, organization_id, workspace_id, number, transition, reason, initiator_id, job_id)
                SELECT \(BuildID()), \(workspace.organization), \(workspace.id), \(workspace.lifecycle.build.number + 1),
                    \(transition.rawValue), \(principal.task == nil ? "initiator" : "task"), \(principal.user), job.id
                FROM job
                """)
            return true
        } catch let error as PostgresError where error.constraint == "workspace_builds_workspace_id_number_key" {
            return false
        }
    }

    /// The sandbox of a workspace ended. Once is enough; a later start is not touched.
    ///
    /// - Returns: whether this was news.
    @discardableResult
    func markEnded(_ workspace: WorkspaceID, sandbox: String, _ end: SandboxEnd, _ message: String) async throws -> Bool {
        try await pool.execute(
            """
            UPDATE workspace_builds SET ended_at = now(), ended_cause = \(end.rawValue), ended_message = \(message)
            WHERE workspace_id = \(workspace) AND sandbox->>'sandboxID' = \(sandbox) AND ended_at IS NULL
            """) > 0
    }

    /// The build that started a sandbox, and the workspace's place.
    func build(of sandbox: String, in workspace: WorkspaceID) async throws -> (BuildID, place: Int)? {
        let rows = try await pool.query(
            """
            SELECT b.id, w.place FROM workspace_builds b JOIN workspaces w ON w.id = b.workspace_id
            WHERE b.workspace_id = \(workspace) AND b.sandbox->>'sandboxID' = \(sandbox) AND w.place IS NOT NULL
            """)
        return try rows.first.map { (try $0["id"], try $0["place"]) }
    }
}
