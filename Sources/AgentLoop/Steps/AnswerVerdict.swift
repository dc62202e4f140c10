import ModelAPI

/// What an answer means for the task. The stop reason is looked at before any call is.
package enum AnswerVerdict: Sendable, Equatable {
    case calls([PlannedCall])
    case final(text: String)
    /// Nothing, or nothing but thinking.
    case empty
    /// The output limit was reached: no call of it runs.
    case cut([PlannedCall])
    case refused(text: String)
    case contextExceeded
    /// The provider paused a long turn: the same conversation is sent again with this answer.
    case unfinished

    package init(_ answer: ModelAnswer) {
        var calls: [PlannedCall] = []
        var texts: [String] = []
        for block in answer.blocks {
            switch block {
            case .toolUse(let id, let name, let inputJSON, let isComplete):
                calls.append(PlannedCall(modelID: id, tool: name, arguments: inputJSON, isComplete: isComplete))
            case .text(let text): texts.append(text)
            case .thinking, .redactedThinking, .other: break
            }
        }
        let text = texts.joined(separator: "\n\n")
        switch answer.stopReason {
        case .maxTokens: self = .cut(calls)
        case .refusal: self = .refused(text: text)
        case .contextExceeded: self = .contextExceeded
        case .pauseTurn where calls.isEmpty: self = .unfinished
        case .endTurn, .stopSequence, .toolUse, .pauseTurn, .other:
            if !calls.isEmpty {
                self = .calls(calls)
            } else if text.allSatisfy(\.isWhitespace) {
                self = .empty
            } else {
                self = .final(text: text)
            }
        }
    }
}

/// A tool call as the model wrote it, before it is checked.
package struct PlannedCall: Sendable, Equatable {
    package var modelID: String
    package var tool: String
    package var arguments: String
    /// False when the block was not closed or its input is no object: such a call never runs.
    package var isComplete: Bool

    package init(modelID: String, tool: String, arguments: String, isComplete: Bool) {
        self.modelID = modelID
        self.tool = tool
        self.arguments = arguments
        self.isComplete = isComplete
    }
}
