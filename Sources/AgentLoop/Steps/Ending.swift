/// Why a task is paused: each is a question to its owner.
package enum PauseReason: String, Sendable, Codable, CaseIterable {
    case limitCost = "limit_cost"
    case limitSteps = "limit_steps"
    case limitTime = "limit_time"
    case budget
    case policy
    /// A person has to allow a tool call.
    case approval
    case stuck
    case refusal
    case emptyAnswers = "empty_answers"
    case cutAnswers = "cut_answers"
    case contextOverflow = "context_overflow"
    case modelUnavailable = "model_unavailable"
    case workspaceUnavailable = "workspace_unavailable"

    /// Such a pause ends only by `resume`, with more of what ran out: a message alone does not end it.
    package var needsMore: Bool {
        switch self {
        case .limitCost, .limitSteps, .limitTime, .budget: true
        default: false
        }
    }
}

package enum FailureReason: String, Sendable, Codable, CaseIterable {
    /// The bundle, the base branch, or git itself.
    case repository
    case modelRejected = "model_rejected"
    case workspace
    /// The work could not be committed or saved.
    case result
    case `internal`
}

/// How a turn ends. All but `completed` can be resumed.
package enum Ending: Sendable, Equatable {
    /// With the model's last words.
    case completed(text: String)
    case paused(PauseReason, message: String)
    case interrupted
    case failed(FailureReason, message: String)
}

/// Why a task waits without holding anything; it goes on by itself.
package enum WaitReason: String, Sendable, Codable {
    case model
    case workspace
}
