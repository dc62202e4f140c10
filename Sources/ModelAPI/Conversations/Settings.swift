/// How the model is to choose its words; numbers stay in the digits of whoever wrote them.
package struct Sampling: Sendable, Hashable {
    package var temperature: JSONNumber?
    package var topP: JSONNumber?
    package var topK: JSONNumber?
    package var frequencyPenalty: JSONNumber?
    package var presencePenalty: JSONNumber?
    package var seed: JSONNumber?

    package init() {}
}

/// How much the model is to think, in the words of the protocols that have words for it.
package enum Effort: String, Sendable, Hashable, Codable, CaseIterable {
    case none, minimal, low, medium, high, xhigh, max

    /// Tokens of thinking that come near it.
    var budget: Int {
        switch self {
        case .none: 0
        case .minimal: 1024
        case .low: 2048
        case .medium: 8192
        case .high: 16_384
        case .xhigh: 24_576
        case .max: 31_999
        }
    }

    init(budget: Int) {
        switch budget {
        case ...0: self = .none
        case ...2048: self = .low
        case ...8192: self = .medium
        default: self = .high
        }
    }
}

/// The form that an answer has to have.
package enum AnswerFormat: Sendable, Hashable {
    /// Any JSON object.
    case jsonObject
    /// - Parameter schema: a JSON object.
    case jsonSchema(name: String, schema: String, strict: Bool?)
}
