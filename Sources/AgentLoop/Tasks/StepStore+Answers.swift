import Core
import Foundation
import ModelAPI
import Postgres

extension StepStore {
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
        try await self.commit(lease, Self.events(of: commit), changes, isDurable: commit.starting != nil)
    }

    /// PostgreSQL's text holds everything but NUL, which no JSON text contains unescaped.
    private static func storable(_ text: String) -> String { text.replacingOccurrences(of: "\u{0}", with: "\u{FFFD}") }

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
}
