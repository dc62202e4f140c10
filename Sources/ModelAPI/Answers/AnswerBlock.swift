/// A part of a model's answer, in the order in which the model gave it.
package enum AnswerBlock: Sendable, Hashable, Codable {
    case text(String)
    /// The signature proves to the provider that its own text comes back unchanged; nil where the protocol has none. With
    /// Responses it is the whole reasoning item, as JSON; with Gemini one without a text belongs to the part behind it.
    case thinking(text: String, signature: String?)
    /// Thinking that only the provider can read.
    case redactedThinking(data: String)
    /// - Parameters:
    ///   - inputJSON: exactly as the model wrote it (`{}` when it wrote nothing); may be cut, and may be no JSON at all.
    ///   - isComplete: the block was closed and the input is one JSON object. Never run a call that is not complete.
    case toolUse(id: String, name: String, inputJSON: String, isComplete: Bool)
    /// A kind that Slipway does not know: kept as the JSON that came, to be sent back so.
    case other(json: String)
}

/// What an answer says while it comes: a preview, never a record.
package enum AnswerDelta: Sendable, Hashable {
    case text(String)
    case thinking(String)
    /// A tool call begins. `index` tells the calls of one answer apart.
    case toolUse(index: Int, id: String, name: String)
    /// A further piece of its input.
    case toolInput(index: Int, json: String)
}

/// Why the model stopped.
package enum StopReason: Sendable, Hashable {
    case endTurn
    /// The output limit was reached: the last block may be cut.
    case maxTokens
    case stopSequence
    case toolUse
    /// The provider paused a long turn; send the answer back to go on.
    case pauseTurn
    case refusal
    /// The conversation no longer fits into the model's context.
    case contextExceeded
    case other(String)

    /// The words of all protocols; they do not collide.
    package init(_ word: String) {
        switch word {
        case "end_turn", "stop", "completed", "STOP": self = .endTurn
        case "max_tokens", "length", "max_output_tokens", "MAX_TOKENS": self = .maxTokens
        case "stop_sequence": self = .stopSequence
        case "tool_use", "tool_calls", "function_call": self = .toolUse
        case "pause_turn": self = .pauseTurn
        case "refusal", "content_filter", "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII": self = .refusal
        case "model_context_window_exceeded": self = .contextExceeded
        default: self = .other(word)
        }
    }

    /// One word for records, the same for every protocol.
    package var word: String {
        switch self {
        case .endTurn: "end_turn"
        case .maxTokens: "max_tokens"
        case .stopSequence: "stop_sequence"
        case .toolUse: "tool_use"
        case .pauseTurn: "pause_turn"
        case .refusal: "refusal"
        case .contextExceeded: "model_context_window_exceeded"
        case .other(let word): word
        }
    }
}

extension StopReason: Codable {
    package init(from decoder: any Decoder) throws { self.init(try decoder.singleValueContainer().decode(String.self)) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(word)
    }
}
