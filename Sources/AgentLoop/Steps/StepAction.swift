import Core

/// What a machine wants done. Commits are awaited in order; what takes longer reports back as an event.
package enum StepAction: Sendable, Equatable {
    case open
    case cancelOpen
    /// Commits the step with a new interception id, and takes in the messages that wait.
    case beginStep(number: Int, attempt: Int)
    case recall(StepRef)
    case ask(StepRef)
    case cancelAsk
    case commitAnswer(StepRef, ModelAnswer, AnswerRecord)
    case commitFailure(StepRef, ModelFailure)
    case run(StepRef, Int)
    case stopCall(Int, CallStop)
    case commitResult(Int, CallResult, remark: String?)
    /// Gives calls that are not made a result that says why.
    case dismiss([Int], String)
    /// Leaves old tool outputs out of the conversation.
    case prune
    case saveWork(Ending)
    case finish(Ending)
    case wait(Duration, WaitReason, message: String)
    /// Hands the task over as it is.
    case release
}

/// How a call that runs is stopped.
package enum CallStop: Sendable, Equatable {
    /// The command is killed, and its result says so.
    case kill
    /// The command runs on; the result says how to find it again.
    case detach
    /// Nothing is committed: the next owner finds the command by the call's id.
    case abandon
}

/// What is stored of an answer.
package struct AnswerRecord: Sendable, Equatable {
    /// Whether the model sees it again; an empty one cannot be sent back.
    package var isKept: Bool
    package var calls: [NumberedCall]
    /// Told to the model after it.
    package var remark: String?

    package init(isKept: Bool, calls: [NumberedCall] = [], remark: String? = nil) {
        self.isKept = isKept
        self.calls = calls
        self.remark = remark
    }
}

package struct NumberedCall: Sendable, Equatable {
    package var number: Int
    package var call: PlannedCall
    /// Set when it is not made: its result, committed together with the answer.
    package var dismissal: String?

    package init(number: Int, call: PlannedCall, dismissal: String? = nil) {
        self.number = number
        self.call = call
        self.dismissal = dismissal
    }
}

/// What the loop itself says to a model.
package enum Remark {
    package static let empty =
        "[Your last answer was empty. Go on with a tool call, or finish with a summary of what you did and what remains open.]"
    package static let cut =
        "[Your last answer was cut off at the output limit. Nothing of it was carried out. Work in smaller pieces: write long files in several calls.]"
    package static let cutCall = "Not carried out: the answer with this call was cut off at the output limit."
    package static let brokenCall =
        "Not carried out: the arguments of this call are not one complete JSON object. Send the call again."
    package static let interruptedCall = "Not carried out: the user interrupted the task."
    package static let limitCall = "Not carried out: the task reached its time limit."
    package static let stuckCall = "Not carried out: the task was paused because the same call was made again and again."
}
