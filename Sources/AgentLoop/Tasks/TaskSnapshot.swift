import Core
import Foundation
import ModelAPI
import Postgres

/// A task as its new owner finds it in the rows.
package struct TaskSnapshot: Sendable {
    struct Call: Sendable {
        var id: CallID
        var number: Int
        var step: Int
        var tool: String
        var arguments: String
        var isStarted: Bool
        /// An earlier owner has started it: it may have been made.
        var isFound = false
        var sandbox: String?
        var prepared: PreparedEdit?
        var isEnded: Bool
        var hasEffect: Bool
        var cursor: Int
        var modelID: String
    }

    var principal: Principal
    var isOwnerActive: Bool
    var email: String?
    var name: String
    var title: String
    var model: String
    var workspace: WorkspaceID?
    var repository: String
    var inputFile: UUID?
    var baseBranch: String?
    var baseCommit: String?
    var headCommit: String?
    var interruptBy: String?
    /// Time that the limit leaves; nil: no limit.
    var remainingSeconds: Double?
    var transcript: Transcript
    var calls: [Int: Call]
    var position: StepMachine.Position
}

extension StepStore {
    /// - Throws: `LeaseLost` when the task is not the lease's any more.
    func load(_ lease: Lease) async throws -> TaskSnapshot {
        let results = try await pool.withConnection { connection in
            try await connection.pipeline([
                """
                SELECT t.*, t.active_ms + \(unsafeSQL: LeaseStore.runTime) AS active_now, u.username, u.email, u.roles, u.status = 'active' AS is_active,
                    (SELECT count(*) FROM task_messages m WHERE m.task_id = t.id) AS queued
                FROM tasks t JOIN users u ON u.id = t.owner_id
                WHERE t.id = \(lease.task) AND t.worker_id = \(lease.worker) AND t.fence = \(lease.fence)
                """,
                """
                SELECT number, attempt, interception_id, state, stop_reason FROM task_steps WHERE task_id = \(lease.task)
                ORDER BY number DESC, attempt DESC LIMIT 1
                """,
                "SELECT position, kind, step, content::text AS content FROM task_entries WHERE task_id = \(lease.task) ORDER BY position",
                """
                SELECT id, number, step, model_id, tool, arguments, state, sandbox, prepared::text AS prepared, result::text AS result,
                    signature, has_effect, cursor
                FROM task_calls WHERE task_id = \(lease.task) ORDER BY number
                """,
            ])
        }
        guard let row = results[0].first else { throw LeaseLost(task: lease.task) }
        var transcript = Transcript(
            entries: try results[2].map { row in
                let kind: String = try row["kind"]
                let content: String = try row["content"]
                return Transcript.Entry(
                    position: try row["position"], kind: Transcript.EntryKind(rawValue: kind) ?? .remark, step: try row["step"],
                    content: try EventCoding.value(content))
            }, prunedBelow: try row["pruned_below"])

        let guardFrom: Int = try row["guard_from"]
        var calls: [Int: TaskSnapshot.Call] = [:]
        var repetition = RepetitionGuard()
        for row in results[3] {
            let state: String = try row["state"]
            let prepared: String? = try row["prepared"]
            let call = TaskSnapshot.Call(
                id: try row["id"], number: try row["number"], step: try row["step"], tool: try row["tool"],
                arguments: try row["arguments"],
                isStarted: state == "started", sandbox: try row["sandbox"],
                prepared: try prepared.map { try EventCoding.value($0) },
                isEnded: state == "ended", hasEffect: try row["has_effect"], cursor: try row["cursor"], modelID: try row["model_id"]
            )
            calls[call.number] = call
            calls[call.number]?.isFound = state == "started"
            guard let text: String = try row["result"] else { continue }
            let result = try EventCoding.value(text, as: CallResult.self)
            transcript.append(
                .init(number: call.number, modelID: call.modelID, text: result.text, isError: result.isError),
                step: call.step)
            if call.number > guardFrom, let signature: Data = try row["signature"] {
                _ = repetition.record(CallSignature(bytes: signature), tool: call.tool, isChange: result.isChange)
            }
        }

        let roles: [String] = try row["roles"]
        let organization: OrganizationID = try row["organization_id"]
        let owner: UserID = try row["owner_id"]
        let username: String = try row["username"]
        let limits = TaskLimits(cost: try row["max_cost"], steps: try row["max_steps"], seconds: try row["max_seconds"])
        let active: Int = try row["active_now"]
        let interruptBy: String? = try row["interrupt_by"]
        let queued: Int = try row["queued"]
        var position = StepMachine.Position(
            lastCall: try row["last_call"], cost: try row["cost"], limits: limits, failures: try row["failures"],
            nudges: try row["nudges"],
            repetition: repetition, isInterrupted: interruptBy != nil)
        if let step = results[1].first {
            try Self.place(&position, lastStep: step, calls: calls, transcript: transcript, hasMessages: queued > 0)
        }
        return TaskSnapshot(
            principal: Principal(
                organization: organization, user: owner, username: username, roles: Set(roles.compactMap(Role.init)),
                task: lease.task),
            isOwnerActive: try row["is_active"], email: try row["email"], name: try row["name"], title: try row["title"],
            model: try row["model"], workspace: try row["workspace_id"], repository: try row["repository"],
            inputFile: try row["input_file"],
            baseBranch: try row["base_branch"], baseCommit: try row["base_commit"], headCommit: try row["head_commit"],
            interruptBy: interruptBy, remainingSeconds: limits.seconds.map { Double($0) - Double(active) / 1000 },
            transcript: transcript, calls: calls, position: position)
    }

    private static func place(
        _ position: inout StepMachine.Position, lastStep row: Row, calls: [Int: TaskSnapshot.Call], transcript: Transcript,
        hasMessages: Bool
    ) throws {
        let step = StepRef(number: try row["number"], attempt: try row["attempt"], interception: try row["interception_id"])
        let state: String = try row["state"]
        switch state {
        case "asked":
            position.place = .unanswered(step)
            position.nextStep = step.number
            position.nextAttempt = step.attempt + 1
        case "failed":
            position.nextStep = step.number
            position.nextAttempt = step.attempt + 1
        default:
            position.nextStep = step.number + 1
            let open = calls.values.filter { $0.step == step.number && !$0.isEnded }.sorted { $0.number < $1.number }
            let stopReason: String? = try row["stop_reason"]
            if !open.isEmpty {
                position.place = .acting(step, open: open.map(\.number), started: open.contains(where: \.isStarted))
            } else if let last = transcript.entries.last, last.kind == .answer, last.step == step.number, !hasMessages,
                let text = last.finalText, stopReason != StopReason.pauseTurn.word
            {
                position.place = .settling(text: text)
            }
        }
    }
}

extension Transcript.Entry {
    /// The text of an answer that asks for no call; nil for any other.
    fileprivate var finalText: String? {
        var texts: [String] = []
        for block in content {
            switch block {
            case .answer(.toolUse): return nil
            case .answer(.text(let text)), .text(let text): texts.append(text)
            case .answer, .toolResult, .media, .toolOutput: break
            }
        }
        return texts.isEmpty ? nil : texts.joined(separator: "\n\n")
    }
}
