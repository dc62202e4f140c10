import Core
import HTTPTransport

/// What an attempt's end says about trying elsewhere. A pure rule.
enum AttemptVerdict: Sendable, Equatable {
    /// The client gets it.
    case answer
    /// Another key of the provider may be better; this one rests.
    case otherKey(rests: Duration)
    /// Another target may be better.
    case otherTarget
    /// A kept connection was closed under the call, which says nothing of the target: once more, over a fresh one. This attempt is the
    /// gateway's own, from the budget of retries and on the record, because the first one may have been worked on.
    case sameAgain

    /// How long a key rests when the provider does not say.
    static let usualRest = Duration.seconds(30)
    static let longestRest = Duration.seconds(600)

    /// - Parameter error: of an attempt that got no answer.
    init(_ error: AppError) { self = error.cause is KeptConnectionClosed ? .sameAgain : .otherTarget }

    /// - Parameter retryAfter: what the provider's answer asks for.
    init(status: Int, retryAfter: Duration?) {
        switch status {
        // The key is not, or no longer, good.
        case 401, 403: self = .otherKey(rests: Self.longestRest)
        // Too much for this key, or its account is empty.
        case 402, 429: self = .otherKey(rests: min(max(retryAfter ?? Self.usualRest, .seconds(1)), Self.longestRest))
        // The model is not there.
        case 404: self = .otherTarget
        case 408, 500..., 425: self = .otherTarget
        default: self = .answer
        }
    }

    init(_ response: HTTPClientResponse) {
        self.init(status: response.status, retryAfter: Self.retryAfter { response.header($0) })
    }

    /// Whether the target itself fails: what opens its circuit.
    static func isFailure(status: Int) -> Bool { status >= 500 && status != 501 }

    /// `retry-after` in seconds, or `retry-after-ms`.
    static func retryAfter(_ header: (String) -> String?) -> Duration? {
        if let text = header("retry-after-ms"), let value = Double(text), value.isFinite, (0...86_400_000).contains(value) {
            return .milliseconds(Int64(value))
        }
        if let text = header("retry-after"), let value = Double(text), value.isFinite, (0...86_400).contains(value) {
            return .milliseconds(Int64(value * 1000))
        }
        return nil
    }
}
