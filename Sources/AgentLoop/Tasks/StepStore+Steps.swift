import Core
import Foundation
import Postgres

extension StepStore {
    /// What begins a step: to be committed by itself, or together with the result before it.
    struct StepBeginning {
        var step: StepRef
        /// Messages that waited; new in the conversation.
        var entries: [Transcript.Entry]
        var events: [NewEvent]
        var changes: [Query]
        /// The owner as they are now: a suspension and other roles reach a running task with its next step at the latest.
        var roles: Set<Role>
        var isOwnerActive: Bool
    }

    /// Reads the owner and the messages that wait. One that comes after this waits for the next step.
    func beginning(
        of step: StepRef, _ lease: Lease, model: String, promptsHash: String, lastPosition: Int
    ) async throws -> StepBeginning {
        let results = try await pool.withConnection {
            try await $0.pipeline([
                "SELECT id, author, text FROM task_messages WHERE task_id = \(lease.task) ORDER BY number",
                """
                SELECT u.roles, u.status = 'active' AS is_active FROM tasks t JOIN users u ON u.id = t.owner_id
                WHERE t.id = \(lease.task)
                """,
            ])
        }
        guard let owner = results[1].first else { throw LeaseLost(task: lease.task) }
        let roles: [String] = try owner["roles"]
        var events: [NewEvent] = []
        var entries: [Transcript.Entry] = []
        var ids: [UUID] = []
        for row in results[0] {
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
        return StepBeginning(
            step: step, entries: entries, events: events, changes: changes, roles: Set(roles.compactMap(Role.init)),
            isOwnerActive: try owner["is_active"])
    }

    /// Commits the step and its interception id, and takes in the messages that wait.
    func begin(_ lease: Lease, _ beginning: StepBeginning) async throws {
        try await commit(lease, beginning.events, beginning.changes, isDurable: false)
    }

    func commitPruning(_ lease: Lease, below position: Int, gained: Int) async throws {
        try await commit(
            lease, [NewEvent(.contextPruned) { $0.bytes = gained }],
            ["UPDATE tasks SET pruned_below = \(position) WHERE id = \(lease.task)"])
    }
}
