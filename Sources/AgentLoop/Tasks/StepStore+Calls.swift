import Core
import Postgres

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

    enum Approval: Sendable, Equatable {
        case given
        case withheld(by: String)
    }

    /// What a person said about a call; nil: nobody has.
    func approval(of number: Int, _ task: TaskID) async throws -> Approval? {
        let rows = try await pool.query(
            "SELECT is_given, actor FROM task_approvals WHERE task_id = \(task) AND number = \(Int32(number))")
        return try rows.first.map { try $0["is_given", as: Bool.self] ? .given : .withheld(by: $0["actor"]) }
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
        try await self.commit(lease, events, changes, isDurable: commit.starting != nil)
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

    static func dismissed(_ tool: String, _ text: String) -> CallResult {
        CallResult(tool: tool, text: text, isError: true, signature: CallSignature(tool: tool, arguments: "", outcome: text))
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
}
