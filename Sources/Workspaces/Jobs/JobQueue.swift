import Core
import Foundation
import Postgres
import Provisioning

/// A build that a worker has taken on.
struct ClaimedJob: Sendable {
    var id: JobID
    var attempt: Int
    var build: BuildID
    var workspace: WorkspaceID
    var number: Int
    var transition: Transition
    var place: Int
    var limits: SandboxLimits
    /// For a start: the agent's token, in the database already.
    var token: AgentToken
    /// Of the latest start.
    var sandbox: SandboxRecord?
}

/// The SQL of provisioner jobs: each is worked on by one worker at a time.
struct JobQueue: Sendable {
    /// On which workers are told to look, when the job is another machine's.
    static let channel = "provisioner_jobs"

    let pool: PostgresPool
    let worker: ReplicaID
    let tags: [String]

    static func tag(host: String) -> String { "host=\(host)" }

    /// The oldest job that may be taken: new, or of a worker that fell silent.
    func claim() async throws -> ClaimedJob? {
        let token = AgentToken()
        // Not flushed: a claim that is lost with the database is made again, and the work itself can be done again.
        let rows = try await pool.withTransaction(synchronousCommit: false) {
            try await $0.query(
                """
                WITH job AS (
                    UPDATE provisioner_jobs SET started_at = coalesce(started_at, now()), updated_at = now(), worker_id = \(worker),
                        attempts = attempts + 1
                    WHERE id = (
                        SELECT id FROM provisioner_jobs
                        WHERE completed_at IS NULL AND tags <@ \(tags) AND (started_at IS NULL OR updated_at < now() - interval '5 s')
                        ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                    RETURNING id, organization_id, attempts
                ), work AS (
                    SELECT job.*, b.id AS build_id, b.workspace_id, b.number, b.transition, w.place, w.limits, (
                        SELECT s.sandbox FROM workspace_builds s
                        WHERE s.workspace_id = w.id AND s.sandbox IS NOT NULL ORDER BY s.number DESC LIMIT 1) AS sandbox
                    FROM job JOIN workspace_builds b ON b.job_id = job.id JOIN workspaces w ON w.id = b.workspace_id
                ), agent AS (
                    INSERT INTO workspace_agents (id, organization_id, workspace_id, build_id, token_hash)
                    SELECT \(UUID()), organization_id, workspace_id, build_id, \(token.hash) FROM work WHERE transition = 'start'
                )
                SELECT * FROM work
                """)
        }
        guard let row = rows.first else { return nil }
        return ClaimedJob(
            id: try row["id"], attempt: try row["attempts"], build: try row["build_id"], workspace: try row["workspace_id"],
            number: try row["number"], transition: Transition(rawValue: try row["transition"]) ?? .start, place: try row["place"],
            limits: try row["limits", as: JSON<SandboxLimits>.self].value, token: token,
            sandbox: try row["sandbox", as: JSON<SandboxRecord>?.self]?.value)
    }

    /// Says that the job is still worked on; false when another worker has it by now.
    func touch(_ job: ClaimedJob) async throws -> Bool {
        try await pool.withTransaction(synchronousCommit: false) {
            try await $0.execute(
                """
                UPDATE provisioner_jobs SET updated_at = now()
                WHERE id = \(job.id) AND worker_id = \(worker) AND attempts = \(job.attempt) AND completed_at IS NULL
                """)
        } > 0
    }

    /// Writes down how it went, with what belongs to it, unless another worker has the job by now.
    func complete(_ job: ClaimedJob, _ outcome: JobOutcome, _ log: [LogLine] = []) async throws {
        try await pool.withTransaction { transaction in
            let isOurs =
                try await transaction.execute(
                    """
                    UPDATE provisioner_jobs SET completed_at = now(), updated_at = now(), error = \(outcome.error)
                    WHERE id = \(job.id) AND worker_id = \(worker) AND attempts = \(job.attempt) AND completed_at IS NULL
                    """) > 0
            guard isOurs else { return }
            try await LogStore.builds(pool).append(log, to: job.build.uuid, transaction)
            switch outcome {
            case .started(let record):
                try await transaction.pipeline([
                    "UPDATE workspace_builds SET sandbox = \(JSON(record)) WHERE id = \(job.build)",
                    // Earlier sandboxes are gone: whatever holds their tokens may not speak for the workspace.
                    """
                    UPDATE workspace_agents SET revoked_at = now()
                    WHERE workspace_id = \(job.workspace) AND revoked_at IS NULL AND token_hash <> \(job.token.hash)
                    """,
                ])
            case .stopped: break
            case .deleted:
                try await transaction.execute(
                    "UPDATE workspaces SET deleted_at = now(), place = NULL WHERE id = \(job.workspace) AND deleted_at IS NULL")
            case .failed: break
            }
            if outcome.endsAgents {
                try await transaction.execute(
                    "UPDATE workspace_agents SET revoked_at = now() WHERE workspace_id = \(job.workspace) AND revoked_at IS NULL")
            }
        }
    }

    /// The worker ends before the job does: somebody else may have it at once.
    func giveBack(_ job: ClaimedJob) async throws {
        try await pool.execute(
            """
            UPDATE provisioner_jobs SET updated_at = '-infinity'
            WHERE id = \(job.id) AND worker_id = \(worker) AND attempts = \(job.attempt) AND completed_at IS NULL
            """)
    }
}

enum JobOutcome: Sendable {
    case started(SandboxRecord)
    case stopped
    case deleted
    case failed(Transition, message: String)

    var error: String? { if case .failed(_, let message) = self { message } else { nil } }

    /// Nothing runs any more, so no agent may connect.
    var endsAgents: Bool {
        switch self {
        case .started, .failed(.stop, _), .failed(.delete, _): false
        case .stopped, .deleted, .failed(.start, _): true
        }
    }
}
