import Core
import Foundation
import ModelAPI
import Postgres

/// What a worker commits. Each commit is one round trip and one transaction: the lease is checked first, events are numbered in it.
package struct StepStore: Sendable {
    let pool: PostgresPool

    package init(_ pool: PostgresPool) { self.pool = pool }

    /// - Throws: `LeaseLost`. Any other error leaves open whether it was committed: read the rows again.
    func commit(_ lease: Lease, _ events: [NewEvent], _ changes: [Query]) async throws {
        let statements = try Self.statements(lease, events) + changes
        try await Self.translated(lease) { _ = try await pool.withConnection { try await $0.pipeline(statements) } }
    }

    static func translated<Value>(_ lease: Lease, _ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch let error as PostgresError where error.sqlState == "SL001" {
            throw LeaseLost(task: lease.task)
        }
    }

    static func statements(_ lease: Lease, _ events: [NewEvent]) throws -> [Query] {
        var statements: [Query] = ["SELECT task_guard(\(lease.task), \(lease.worker), \(lease.fence), \(events.count))"]
        if !events.isEmpty {
            statements.append(
                """
                INSERT INTO task_events (task_id, organization_id, seq, kind, payload)
                SELECT t.id, t.organization_id, t.last_seq - \(events.count) + e.n, e.kind, e.payload::json
                FROM tasks t, unnest(\(events.map(\.kind.rawValue)), \(try events.map { try EventCoding.text($0.payload) }))
                    WITH ORDINALITY AS e (kind, payload, n)
                WHERE t.id = \(lease.task)
                """)
        }
        return statements
    }

    static func entries(_ lease: Lease, _ entries: [Transcript.Entry]) throws -> [Query] {
        guard let last = entries.last else { return [] }
        let inserts: [Query] = try entries.map { entry in
            """
            INSERT INTO task_entries (task_id, organization_id, position, kind, step, content)
            SELECT id, organization_id, \(entry.position), \(entry.kind.rawValue), \(entry.step.map(Int32.init)),
                \(try EventCoding.text(entry.content))::json
            FROM tasks WHERE id = \(lease.task)
            """
        }
        return inserts + ["UPDATE tasks SET last_entry = \(last.position) WHERE id = \(lease.task)"]
    }
}

// MARK: Steps

extension StepStore {
    /// What begins a step: to be committed by itself, or together with the result before it.
    struct StepBeginning {
        var step: StepRef
        /// Messages that waited; new in the conversation.
        var entries: [Transcript.Entry]
        var events: [NewEvent]
        var changes: [Query]
    }

    /// Reads the messages that wait. One that comes after this waits for the next step.
    func beginning(
        of step: StepRef, _ lease: Lease, model: String, promptsHash: String, lastPosition: Int
    ) async throws -> StepBeginning {
        let rows = try await pool.query(
            "SELECT id, author, text FROM task_messages WHERE task_id = \(lease.task) ORDER BY number")
        var events: [NewEvent] = []
        var entries: [Transcript.Entry] = []
        var ids: [UUID] = []
        for row in rows {
            let id: UUID = try row["id"]
            let text: String = try row["text"]
            let author: String = try row["author"]
            ids.append(id)
            entries.append(.init(position: lastPosition + entries.count + 1, kind: .user, content: [.text(text)]))
            events.append(
                NewEvent(.userMessage) {
                    $0.text = text
                    $0.by = author
                    $0.messageID = id
                })
        }
        events.append(
            NewEvent(.stepStarted) {
                $0.step = step.number
                $0.attempt = step.attempt
                $0.model = model
                $0.interceptionID = step.interception
            })
        var changes = try Self.entries(lease, entries)
        if !ids.isEmpty { changes.append("DELETE FROM task_messages WHERE id = ANY(\(ids))") }
        changes.append(
            """
            INSERT INTO task_steps (task_id, organization_id, number, attempt, interception_id, prompts_hash, fence)
            SELECT id, organization_id, \(Int32(step.number)), \(Int32(step.attempt)), \(step.interception), \(promptsHash), \(lease.fence)
            FROM tasks WHERE id = \(lease.task)
            """)
        return StepBeginning(step: step, entries: entries, events: events, changes: changes)
    }

    /// Commits the step and its interception id, and takes in the messages that wait.
    func begin(_ lease: Lease, _ beginning: StepBeginning) async throws {
        try await commit(lease, beginning.events, beginning.changes)
    }

    struct AnswerCommit {
        var step: StepRef
        var answer: ModelAnswer
        var entries: [Transcript.Entry]
        var calls: [CallRow]
        var remark: String?
        var nudges: Int
        var totalCost: NanoDollars
        /// The call that is made next, when it has an effect.
        var starting: (number: Int, sandbox: String)?
    }

    struct CallRow {
        var id: CallID
        var call: NumberedCall
        var hasEffect: Bool
    }

    func commitAnswer(_ lease: Lease, _ commit: AnswerCommit) async throws {
        let step = commit.step
        var changes = try Self.entries(lease, commit.entries)
        changes.append(
            """
            UPDATE task_steps SET state = 'answered', stop_reason = \(commit.answer.stopReason.word), cost = \(commit.answer.cost),
                usage = \(try EventCoding.text(commit.answer.usage))::json, ended_at = clock_timestamp()
            WHERE task_id = \(lease.task) AND number = \(Int32(step.number)) AND attempt = \(Int32(step.attempt))
            """)
        let lastCall = commit.calls.last?.call.number
        changes.append(
            """
            UPDATE tasks SET cost = cost + \(commit.answer.cost), steps = \(Int32(step.number)), failures = 0, nudges = \(Int32(commit.nudges)),
                last_call = COALESCE(\(lastCall.map(Int32.init)), last_call)
            WHERE id = \(lease.task)
            """)
        for row in commit.calls {
            let dismissed = row.call.dismissal != nil
            let result = try row.call.dismissal.map { try EventCoding.text(Self.dismissed(row.call.call.tool, $0)) }
            changes.append(
                """
                INSERT INTO task_calls (id, task_id, organization_id, number, step, model_id, tool, arguments, state, has_effect, result, ended_at)
                SELECT \(row.id), id, organization_id, \(Int32(row.call.number)), \(Int32(step.number)), \(Self.storable(row.call.call.modelID)),
                    \(Self.storable(row.call.call.tool)), \(Self.storable(row.call.call.arguments)), \(dismissed ? "ended" : "pending"),
                    \(row.hasEffect), \(result)::json, CASE WHEN \(dismissed) THEN clock_timestamp() END
                FROM tasks WHERE id = \(lease.task)
                """)
        }
        if let starting = commit.starting { changes.append(Self.start(lease, starting.number, sandbox: starting.sandbox)) }
        try await self.commit(lease, Self.events(of: commit), changes)
    }

    /// PostgreSQL's text holds everything but NUL, which no JSON text contains unescaped.
    private static func storable(_ text: String) -> String { text.replacingOccurrences(of: "\u{0}", with: "\u{FFFD}") }

    static func dismissed(_ tool: String, _ text: String) -> CallResult {
        CallResult(tool: tool, text: text, isError: true, signature: CallSignature(tool: tool, arguments: "", outcome: text))
    }

    private static func events(of commit: AnswerCommit) -> [NewEvent] {
        let number = commit.step.number
        var events = Self.said(commit.answer.blocks, step: number)
        for row in commit.calls {
            events.append(
                NewEvent(.toolCall) {
                    $0.step = number
                    $0.call = row.call.number
                    $0.tool = row.call.call.tool
                    $0.arguments = row.call.call.arguments
                })
        }
        events.append(
            NewEvent(.cost) {
                $0.step = number
                $0.cost = commit.answer.cost
                $0.totalCost = commit.totalCost
                $0.usage = commit.answer.usage
                $0.stopReason = commit.answer.stopReason.word
            })
        for row in commit.calls {
            if let text = row.call.dismissal {
                events.append(Self.resultEvent(row.call.number, Self.dismissed(row.call.call.tool, text)))
            }
        }
        if let remark = commit.remark {
            events.append(
                NewEvent(.remark) {
                    $0.text = remark; $0.step = number
                })
        }
        return events
    }

    /// What people can read of an answer.
    private static func said(_ blocks: [AnswerBlock], step: Int, isPartial: Bool? = nil) -> [NewEvent] {
        blocks.compactMap { block in
            let (kind, text): (TaskEvent.Kind, String)
            switch block {
            case .text(let said): (kind, text) = (.text, said)
            case .thinking(let thought, _): (kind, text) = (.thinking, thought)
            case .redactedThinking, .toolUse, .other: return nil
            }
            guard !text.isEmpty else { return nil }
            return NewEvent(kind) {
                $0.text = text
                $0.step = step
                $0.isPartial = isPartial
            }
        }
    }

    static func resultEvent(_ number: Int, _ result: CallResult) -> NewEvent {
        NewEvent(.toolResult) {
            $0.call = number
            $0.tool = result.tool
            $0.text = result.text
            $0.isError = result.isError
            $0.exitCode = result.exitCode
            $0.milliseconds = result.milliseconds
        }
    }

    func commitFailure(_ lease: Lease, _ step: StepRef, _ failure: ModelFailure, failures: Int) async throws {
        let event = NewEvent(.stepFailed) {
            $0.step = step.number
            $0.attempt = step.attempt
            $0.reason = failure.kind.rawValue
            $0.text = failure.message
            if failure.cost != .zero { $0.cost = failure.cost }
        }
        try await commit(
            lease, Self.said(failure.partial, step: step.number, isPartial: true) + [event],
            [
                """
                UPDATE task_steps SET state = 'failed', stop_reason = \(failure.kind.rawValue), cost = \(failure.cost), ended_at = clock_timestamp()
                WHERE task_id = \(lease.task) AND number = \(Int32(step.number)) AND attempt = \(Int32(step.attempt))
                """,
                "UPDATE tasks SET cost = cost + \(failure.cost), failures = \(Int32(failures)) WHERE id = \(lease.task)",
            ])
    }

    func commitPruning(_ lease: Lease, below position: Int, gained: Int) async throws {
        try await commit(
            lease, [NewEvent(.contextPruned) { $0.bytes = gained }],
            ["UPDATE tasks SET pruned_below = \(position) WHERE id = \(lease.task)"])
    }
}

// MARK: Calls

extension StepStore {
    static func start(_ lease: Lease, _ number: Int, sandbox: String) -> Query {
        """
        UPDATE task_calls SET state = 'started', fence = \(lease.fence), sandbox = \(sandbox), started_at = clock_timestamp()
        WHERE task_id = \(lease.task) AND number = \(Int32(number)) AND state = 'pending'
        """
    }

    func ensureStarted(_ lease: Lease, _ number: Int, sandbox: String) async throws {
        try await commit(lease, [], [Self.start(lease, number, sandbox: sandbox)])
    }

    /// Commits what an edit is about to write, before it is written.
    func prepare(_ lease: Lease, _ number: Int, _ edit: PreparedEdit) async throws {
        try await commit(
            lease, [],
            [
                """
                UPDATE task_calls SET prepared = \(try EventCoding.text(edit))::json
                WHERE task_id = \(lease.task) AND number = \(Int32(number))
                """
            ])
    }

    struct ResultCommit {
        var number: Int
        var result: CallResult
        /// Of `process_output`: the command that was read, and how far.
        var read: (process: Int, cursor: Int)?
        var remark: Transcript.Entry?
        var starting: (number: Int, sandbox: String)?
        /// The step that follows, when this was the last call of its step.
        var following: StepBeginning?
    }

    func commitResult(_ lease: Lease, _ commit: ResultCommit) async throws {
        var events = [Self.resultEvent(commit.number, commit.result)]
        var changes: [Query] = [
            """
            UPDATE task_calls SET state = 'ended', result = \(try EventCoding.text(commit.result))::json,
                signature = \(commit.result.signature.bytes), ended_at = clock_timestamp()
            WHERE task_id = \(lease.task) AND number = \(Int32(commit.number))
            """,
            "UPDATE tasks SET failures = 0 WHERE id = \(lease.task) AND failures <> 0",
        ]
        if let read = commit.read {
            changes.append(
                "UPDATE task_calls SET cursor = \(read.cursor) WHERE task_id = \(lease.task) AND number = \(Int32(read.process))")
        }
        if let remark = commit.remark {
            changes += try Self.entries(lease, [remark])
            if case .text(let text)? = remark.content.first { events.append(NewEvent(.remark) { $0.text = text }) }
        }
        if let starting = commit.starting { changes.append(Self.start(lease, starting.number, sandbox: starting.sandbox)) }
        if let following = commit.following {
            events += following.events
            changes += following.changes
        }
        try await self.commit(lease, events, changes)
    }

    func dismiss(_ lease: Lease, _ calls: [(number: Int, tool: String)], _ text: String) async throws {
        let results = calls.map { ($0.number, Self.dismissed($0.tool, text)) }
        try await commit(
            lease, results.map { Self.resultEvent($0.0, $0.1) },
            try results.map { number, result in
                """
                UPDATE task_calls SET state = 'ended', result = \(try EventCoding.text(result))::json, ended_at = clock_timestamp()
                WHERE task_id = \(lease.task) AND number = \(Int32(number)) AND state <> 'ended'
                """
            })
    }
}
