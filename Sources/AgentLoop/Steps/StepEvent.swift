import Core
import Foundation

/// What happened to a task, as its machine hears it.
package enum StepEvent: Sendable {
    case began
    case opened
    case openFailed(OpenFailure)
    case stepBegun(StepRef)
    /// What the task has cost so far, without the answer that is recalled.
    case booked(NanoDollars)
    case recalled(ModelAnswer?)
    case answered(ModelAnswer)
    case askFailed(ModelFailure)
    case callEnded(Int, CallOutcome)
    /// Bytes of the conversation that are left out from now on.
    case pruned(Int)
    case workSaved
    /// Transient: the workspace did not answer.
    case workFailed(String, isTransient: Bool)
    case finished
    case messagesWait
    case stop(StepMachine.Stop)
}

package enum OpenFailure: Error, Sendable, Equatable {
    case cancelled
    /// It may go better later.
    case unavailable(String, retryAfter: Duration?)
    case refused(FailureReason, message: String)
}

package enum CallOutcome: Sendable, Equatable {
    case result(CallResult)
    /// The workspace did not answer: the call stays open.
    case workspaceLost(String)
    /// Not made: a person has to allow it first.
    case needsApproval(String)
    /// Given up for the next owner, who finds it by its id.
    case abandoned
}

/// What came of a tool call.
package struct CallResult: Sendable, Equatable, Codable {
    package var tool: String
    /// For the model.
    package var text: String
    package var isError: Bool
    package var exitCode: Int?
    /// Wall time of the call.
    package var milliseconds: Int?
    /// A file was changed.
    package var isChange: Bool
    /// Of `process_output`: how far it has read.
    package var cursor: Int?
    package var signatureBytes: Data

    package var signature: CallSignature { CallSignature(bytes: signatureBytes) }

    package init(
        tool: String, text: String, isError: Bool = false, exitCode: Int? = nil, milliseconds: Int? = nil, isChange: Bool = false,
        cursor: Int? = nil, signature: CallSignature
    ) {
        self.tool = tool
        self.text = text
        self.isError = isError
        self.exitCode = exitCode
        self.milliseconds = milliseconds
        self.isChange = isChange
        self.cursor = cursor
        signatureBytes = signature.bytes
    }
}
