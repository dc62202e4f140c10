import Core
import ModelAPI

/// Why a model call gave no answer, in the terms that decide what the loop does next.
package struct ModelFailure: Error, Sendable, Equatable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        /// 429: too many requests.
        case rateLimited
        /// 503, 529: the provider is overloaded.
        case overloaded
        /// The provider, or the gateway, could not be reached, or failed inside.
        case unavailable
        /// The answer broke off.
        case brokenOff
        /// The conversation does not fit into the model's context.
        case contextOverflow
        case budget
        case policy
        /// The request itself was refused: trying again changes nothing.
        case rejected
        /// Stopped by us.
        case cancelled
    }

    package var kind: Kind
    /// For the task's owner.
    package var message: String
    package var retryAfter: Duration?
    /// What the call cost nevertheless.
    package var cost: NanoDollars
    /// What the model had said until then.
    package var partial: [AnswerBlock]

    package init(
        _ kind: Kind, _ message: String, retryAfter: Duration? = nil, cost: NanoDollars = .zero, partial: [AnswerBlock] = []
    ) {
        self.kind = kind
        self.message = message
        self.retryAfter = retryAfter
        self.cost = cost
        self.partial = partial
    }

    /// Reads an answer of the gateway that is an error: the provider's own, or the gateway's in the provider's shape.
    package static func classify(status: Int, error: UpstreamError, retryAfter: Duration? = nil, cost: NanoDollars = .zero)
        -> ModelFailure
    {
        ModelFailure(kind(status: status, error: error), error.message, retryAfter: retryAfter, cost: cost)
    }

    /// Reads whatever a `ModelClient` threw.
    package static func classify(_ error: any Error) -> ModelFailure {
        switch error {
        case let failure as ModelFailure: return failure
        case is CancellationError: return ModelFailure(.cancelled, "The call was stopped.")
        case let error as AppError:
            var retry: Duration?
            if case .after(let delay) = error.retry { retry = delay }
            let kind: Kind =
                switch error.code {
                case .budgetExceeded: .budget
                case .policyDenied, .forbidden, .unauthenticated: .policy
                case .rateLimited: .rateLimited
                case .unavailable, .upstream, .timeout, .internal: .unavailable
                case .badRequest, .notFound, .conflict, .tooLarge: .rejected
                }
            return ModelFailure(kind, error.message, retryAfter: retry)
        default: return ModelFailure(.unavailable, "The model could not be asked.")
        }
    }

    private static func kind(status: Int, error: UpstreamError) -> Kind {
        let word = (error.code ?? error.type).lowercased()
        let text = error.message.lowercased()
        if isOverflow(word, text) { return .contextOverflow }
        if word.contains("budget") { return .budget }
        if word.contains("policy") { return .policy }
        switch status {
        case 402: return .budget
        case 403: return .policy
        case 429: return word.contains("quota") ? .rejected : .rateLimited
        case 503, 529: return .overloaded
        case 408, 409, 500...: return word.contains("overloaded") ? .overloaded : .unavailable
        case 200: return word.contains("overloaded") ? .overloaded : .brokenOff
        default: return .rejected
        }
    }

    private static func isOverflow(_ word: String, _ text: String) -> Bool {
        word == "context_length_exceeded" || word == "request_too_large" || text.contains("prompt is too long")
            || text.contains("maximum context length") || text.contains("exceed context limit")
            || (text.contains("context window") && text.contains("exceed"))
    }
}
