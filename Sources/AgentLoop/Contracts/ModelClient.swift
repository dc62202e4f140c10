import Core
import ModelAPI
import Telemetry

/// What the loop asks a model through the gateway.
package struct ModelCall: Sendable {
    /// Committed before the call is made: whoever takes the task over can ask for the recorded answer.
    package var id: InterceptionID
    package var principal: Principal
    package var task: TaskID
    package var step: Int
    package var model: String
    package var conversation: Conversation
    /// What is left of the task's own limit; nil: no limit.
    package var remaining: NanoDollars?
    /// The span it is made in.
    package var trace: TraceContext?

    package init(
        id: InterceptionID, principal: Principal, task: TaskID, step: Int, model: String, conversation: Conversation,
        remaining: NanoDollars?, trace: TraceContext? = nil
    ) {
        self.id = id
        self.principal = principal
        self.task = task
        self.step = step
        self.model = model
        self.conversation = conversation
        self.remaining = remaining
        self.trace = trace
    }
}

/// A whole answer. One that broke off is a `ModelFailure` instead.
package struct ModelAnswer: Sendable, Equatable {
    package var blocks: [AnswerBlock]
    package var stopReason: StopReason
    package var usage: Usage
    package var cost: NanoDollars

    package init(blocks: [AnswerBlock], stopReason: StopReason, usage: Usage, cost: NanoDollars) {
        self.blocks = blocks
        self.stopReason = stopReason
        self.usage = usage
        self.cost = cost
    }
}

/// Makes model calls; the gateway behind it decides, holds and records.
package protocol ModelClient: Sendable {
    /// - Throws: `ModelFailure`; `CancellationError` when the calling task is cancelled, which aborts the stream.
    func call(_ call: ModelCall, preview: @escaping @Sendable (AnswerDelta) -> Void) async throws -> ModelAnswer

    /// The answer of an earlier call, when it is settled and complete; nil when there is none, so that a new attempt is needed.
    func recorded(_ id: InterceptionID) async throws -> ModelAnswer?
}
