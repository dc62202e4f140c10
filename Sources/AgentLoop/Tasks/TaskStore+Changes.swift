import Core
import Foundation
import Postgres

/// What a person asks of a task; only its owner may, admins may interrupt and delete.
extension TaskStore {
    package struct NewRow: Sendable {
        var id: TaskID
        var name: String
        var title: String
        var prompt: String
        var model: String
        var limits: TaskLimits
        var repository: String
        var inputFile: UUID?
        var baseBranch: String?
    }

    package func insert(_ principal: Principal, _ new: NewRow) async throws {
        do {
            _ = try await pool.withConnection {
                try await $0.pipeline([
                    """
                    INSERT INTO tasks (id, organization_id, owner_id, name, title, model, max_cost, max_steps, max_seconds, repository, input_file,
                        base_branch)
                    VALUES (\(new.id), \(principal.organization), \(principal.user), \(new.name), \(new.title), \(new.model),
                        \(new.limits.cost), \(new.limits.steps.map(Int32.init)), \(new.limits.seconds.map(Int32.init)), \(new.repository),
                        \(new.inputFile), \(new.baseBranch))
                    """,
                    Self.message(new.prompt, id: UUID(), task: new.id, principal),
                ])
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw AppError(.conflict, "There is already a task named '\(new.name)'.", field: "name")
        } catch let error as PostgresError where error.isForeignKeyViolation && new.inputFile != nil {
            throw AppError(.notFound, "The uploaded file is no longer there; upload the bundle again.", field: "file_id")
        }
    }

    func ownsFile(_ principal: Principal, _ file: UUID) async throws -> Bool {
        let rows = try await pool.query(
            """
            SELECT 1 FROM files WHERE id = \(file) AND organization_id = \(principal.organization) AND owner_id = \(principal.user)
                AND hash IS NOT NULL
            """)
        return !rows.isEmpty
    }

    private static func message(_ text: String, id: UUID, task: TaskID, _ principal: Principal) -> Query {
        """
        INSERT INTO task_messages (id, task_id, organization_id, author_id, author, text)
        VALUES (\(id), \(task), \(principal.organization), \(principal.user), \(principal.username), \(text))
        """
    }

    /// What a change is decided on; the row stays locked until the transaction ends.
    private struct Locked {
        var status: TaskStatus
        var reason: String?
        var limits: TaskLimits
        var cost: NanoDollars
        var steps: Int
        var activeSeconds: Int
        var queued: Int
    }

    private enum Right { case own, ownOrAdmin }

    private func locked<Value: Sendable>(
        _ principal: Principal, _ id: TaskID, _ right: Right,
        _ body: (PostgresConnection, Locked) async throws -> Value
    ) async throws -> Value {
        try await pool.withTransaction { connection in
            let rows = try await connection.query(
                """
                SELECT t.status, t.reason, t.max_cost, t.max_steps, t.max_seconds, t.cost, t.steps, t.owner_id, t.active_ms,
                    (SELECT count(*) FROM task_messages m WHERE m.task_id = t.id) AS queued
                FROM tasks t WHERE \(Self.readable(by: principal)) AND t.id = \(id) FOR UPDATE
                """)
            guard let row = rows.first else { throw AppError(.notFound, "There is no task \(id).") }
            let owner: UserID = try row["owner_id"]
            let mayAct = owner == principal.user || (right == .ownOrAdmin && !principal.roles.isDisjoint(with: [.owner, .admin]))
            guard mayAct else { throw AppError(.forbidden, "The task belongs to somebody else.") }
            let status: String = try row["status"]
            let active: Int = try row["active_ms"]
            return try await body(
                connection,
                Locked(
                    status: TaskStatus(rawValue: status) ?? .failed, reason: try row["reason"],
                    limits: TaskLimits(cost: try row["max_cost"], steps: try row["max_steps"], seconds: try row["max_seconds"]),
                    cost: try row["cost"], steps: try row["steps"], activeSeconds: active / 1000, queued: try row["queued"]))
        }
    }

    private func record(_ event: NewEvent, task: TaskID, on connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            WITH t AS (UPDATE tasks SET last_seq = last_seq + 1, updated_at = clock_timestamp() WHERE id = \(task)
                RETURNING id, organization_id, last_seq)
            INSERT INTO task_events (task_id, organization_id, seq, kind, payload)
            SELECT id, organization_id, last_seq, \(event.kind.rawValue), \(try EventCoding.text(event.payload))::json FROM t
            """)
    }

    /// Lets a worker have it. What went wrong before is forgotten: it was a person who decided to go on.
    private static func requeue(_ id: TaskID, _ limits: TaskLimits) -> Query {
        """
        UPDATE tasks SET status = 'queued', reason = NULL, message = NULL, wake_at = NULL, interrupt_by = NULL, failures = 0, nudges = 0,
            guard_from = last_call, max_cost = \(limits.cost), max_steps = \(limits.steps.map(Int32.init)),
            max_seconds = \(limits.seconds.map(Int32.init)), running_since = NULL
        WHERE id = \(id)
        """
    }

    // MARK: Requests

    /// Queues a message; a task that has ended or asks goes on with it, unless it asks for more of what ran out.
    package func send(_ principal: Principal, _ id: TaskID, text: String, messageID: UUID, maxQueued: Int) async throws {
        try await locked(principal, id, .own) { connection, task in
            guard task.queued < maxQueued else {
                throw AppError(
                    .conflict, "\(task.queued) messages already wait for this task; that is as many as can.", field: "text")
            }
            try await connection.execute(Self.message(text, id: messageID, task: id, principal))
            let event = NewEvent(.messageQueued) {
                $0.text = text
                $0.by = principal.username
                $0.messageID = messageID
            }
            try await record(event, task: id, on: connection)
            let needsMore = task.status == .paused && task.reason.flatMap(PauseReason.init)?.needsMore == true
            if !task.status.isActive, !needsMore {
                try await Self.reopen(task, id, connection)
                try await connection.execute(Self.requeue(id, task.limits))
            }
        }
    }

    package func interrupt(_ principal: Principal, _ id: TaskID) async throws {
        try await locked(principal, id, .ownOrAdmin) { connection, task in
            guard task.status.isActive else {
                throw AppError(.conflict, "The task is \(task.status.rawValue): there is nothing to interrupt.")
            }
            let already = try await connection.query("SELECT interrupt_by FROM tasks WHERE id = \(id) AND interrupt_by IS NOT NULL")
            guard already.isEmpty else { return }
            // The worker that owns it stops what runs; when nobody does, the next one to take it concludes.
            try await connection.execute(
                """
                UPDATE tasks SET interrupt_by = \(principal.username), wake_at = NULL,
                    status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
                WHERE id = \(id)
                """)
            try await record(NewEvent(.interruptRequested) { $0.by = principal.username }, task: id, on: connection)
        }
    }

    /// Asks all tasks of somebody to stop, in the transaction of what takes their right to go on. Workers see it when they next look.
    ///
    /// - Parameter by: who, and why: people read it.
    package static func interruptAll(
        of owner: UserID, _ organization: OrganizationID, by: String, _ connection: PostgresConnection
    ) async throws {
        let event = NewEvent(.interruptRequested) { $0.by = by }
        try await connection.execute(
            """
            WITH stopped AS (
                UPDATE tasks SET interrupt_by = \(by), wake_at = NULL, last_seq = last_seq + 1, updated_at = clock_timestamp(),
                    status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
                WHERE organization_id = \(organization) AND owner_id = \(owner) AND status IN ('queued', 'running', 'waiting')
                    AND interrupt_by IS NULL
                RETURNING id, organization_id, last_seq)
            INSERT INTO task_events (task_id, organization_id, seq, kind, payload)
            SELECT id, organization_id, last_seq, \(event.kind.rawValue), \(try EventCoding.text(event.payload))::json FROM stopped
            """)
    }

    /// Goes on after a pause, an interruption or a failure; limits that are given take the place of the present ones.
    package func resume(_ principal: Principal, _ id: TaskID, limits: TaskLimits) async throws {
        try await locked(principal, id, .own) { connection, task in
            switch task.status {
            case .paused, .interrupted, .failed: break
            case .queued, .running, .waiting, .completed:
                throw AppError(
                    .conflict,
                    "The task is \(task.status.rawValue); only a paused, interrupted or failed task can be resumed."
                        + (task.status == .completed ? " Send it a message to go on." : ""))
            }
            let limits = task.limits.raised(by: limits)
            try Self.checkRoom(limits, task)
            try await Self.reopen(task, id, connection)
            try await connection.execute(Self.requeue(id, limits))
            let event = NewEvent(.resumed) {
                $0.by = principal.username
                $0.reason = task.reason
            }
            try await record(event, task: id, on: connection)
        }
    }

    /// Lets the call for which a task waits be made, or not; the task goes on.
    ///
    /// - Throws: `conflict` when it waits for no such answer.
    package func answerApproval(_ principal: Principal, _ id: TaskID, isGiven: Bool) async throws {
        try await locked(principal, id, .ownOrAdmin) { connection, task in
            guard task.status == .paused, task.reason == PauseReason.approval.rawValue else {
                throw AppError(.conflict, "The task is \(task.status.rawValue); it waits for nobody to allow a call.")
            }
            try Self.checkRoom(task.limits, task)
            let rows = try await connection.query(
                "SELECT number, tool FROM task_calls WHERE task_id = \(id) AND state <> 'ended' ORDER BY number LIMIT 1")
            guard let call = rows.first else { throw AppError(.conflict, "The task has no open call any more; resume it.") }
            try await connection.execute(
                """
                INSERT INTO task_approvals (task_id, number, organization_id, is_given, actor_id, actor)
                VALUES (\(id), \(try call["number", as: Int.self])::integer, \(principal.organization), \(isGiven), \(principal.user), \(principal.username))
                ON CONFLICT (task_id, number) DO NOTHING
                """)
            try await Self.reopen(task, id, connection)
            try await connection.execute(Self.requeue(id, task.limits))
            let tool = try call["tool", as: String.self]
            let event = NewEvent(.resumed) {
                $0.by = principal.username
                $0.reason = task.reason
                $0.text = isGiven ? "\(tool) is allowed" : "\(tool) is not allowed"
            }
            try await record(event, task: id, on: connection)
        }
    }

    /// A call that waits for somebody to allow it was put on record as started, and never made.
    private static func reopen(_ task: Locked, _ id: TaskID, _ connection: PostgresConnection) async throws {
        guard task.reason == PauseReason.approval.rawValue else { return }
        try await connection.execute(
            """
            UPDATE task_calls SET state = 'pending', sandbox = NULL, started_at = NULL, fence = NULL
            WHERE task_id = \(id) AND state = 'started'
            """)
    }

    private static func checkRoom(_ limits: TaskLimits, _ task: Locked) throws {
        if let cost = limits.cost, cost <= task.cost {
            throw AppError(
                .badRequest, "The task has already cost \(task.cost); resume it with a limit above that.", field: "limits.max_cost")
        }
        if let steps = limits.steps, steps <= task.steps {
            throw AppError(
                .badRequest, "The task has already made \(task.steps) steps; resume it with a limit above that.",
                field: "limits.max_steps")
        }
        if let seconds = limits.seconds, seconds <= task.activeSeconds {
            throw AppError(
                .badRequest, "The task has already worked for \(task.activeSeconds) seconds; resume it with a limit above that.",
                field: "limits.max_seconds")
        }
    }

    /// - Returns: the workspace it had.
    package func delete(_ principal: Principal, _ id: TaskID) async throws -> WorkspaceID? {
        try await locked(principal, id, .ownOrAdmin) { connection, task in
            guard !task.status.isActive else {
                throw AppError(.conflict, "The task is \(task.status.rawValue): interrupt it before you delete it.")
            }
            let rows = try await connection.query(
                "DELETE FROM tasks WHERE id = \(id) RETURNING workspace_id, input_file, result_bundle, result_diff")
            guard let row = rows.first else { return nil }
            let files: [UUID?] = [try row["input_file"], try row["result_bundle"], try row["result_diff"]]
            try await connection.execute(
                """
                DELETE FROM files f WHERE f.id = ANY(\(files.compactMap { $0 }))
                    AND NOT EXISTS (SELECT 1 FROM tasks t WHERE f.id IN (t.input_file, t.result_bundle, t.result_diff))
                """)
            return try row["workspace_id"]
        }
    }
}
