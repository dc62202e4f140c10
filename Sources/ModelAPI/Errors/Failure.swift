import Core
import NIOCore

/// What went wrong at an upstream, in no protocol's words: from any provider's status and kind, to any client's.
package struct Failure: Sendable, Hashable {
    package enum Kind: Sendable, Hashable, CaseIterable {
        case invalidRequest, authentication, quota, permission, notFound, tooLarge
        /// The conversation is longer than the model's context: clients compact theirs when they are told so.
        case contextLength
        case rateLimit, overloaded, timeout, server
    }

    package let kind: Kind
    package let message: String

    /// - Parameter status: the upstream's; nil for an error in mid-stream.
    package init(_ error: UpstreamError, status: Int? = nil) {
        message = error.message
        kind =
            Self.isTooLong(error)
            ? .contextLength
            : Self.kind(error.code ?? "") ?? Self.kind(error.type) ?? status.flatMap(Self.kind) ?? .server
    }

    /// Providers say it in words alone, or in a code.
    private static func isTooLong(_ error: UpstreamError) -> Bool {
        if error.code == "context_length_exceeded" || error.type == "context_length_exceeded" { return true }
        let text = error.message.lowercased()
        return [
            "prompt is too long", "maximum context length", "exceeds the context window", "input is too long",
            "exceed context limit", "exceeds the available context size",
        ].contains { text.contains($0) } || text.contains("input token count") && text.contains("exceeds the maximum")
    }

    private static func kind(_ word: String) -> Kind? {
        switch word {
        case "invalid_request_error", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "invalid_prompt": return .invalidRequest
        case "authentication_error", "UNAUTHENTICATED", "invalid_api_key": return .authentication
        case "insufficient_quota", "billing_error", "billing_hard_limit_reached": return .quota
        case "permission_error", "PERMISSION_DENIED": return .permission
        case "not_found_error", "NOT_FOUND", "model_not_found": return .notFound
        case "request_too_large": return .tooLarge
        case "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "tokens", "requests": return .rateLimit
        case "overloaded_error", "UNAVAILABLE", "server_is_overloaded", "slow_down": return .overloaded
        case "timeout_error", "DEADLINE_EXCEEDED": return .timeout
        case "api_error", "server_error", "INTERNAL": return .server
        default: break
        }
        // Amazon writes the same words with a small or a capital letter, and may put a URL behind them.
        switch word.prefix(while: { $0 != ":" && $0 != "#" }).lowercased() {
        case "validationexception": return .invalidRequest
        case "unrecognizedclientexception", "expiredtokenexception", "invalidsignatureexception": return .authentication
        case "accessdeniedexception": return .permission
        case "resourcenotfoundexception": return .notFound
        case "throttlingexception", "servicequotaexceededexception", "toomanyrequestsexception": return .rateLimit
        case "serviceunavailableexception", "modelnotreadyexception": return .overloaded
        case "modeltimeoutexception": return .timeout
        case "internalserverexception", "modelstreamerrorexception", "modelerrorexception": return .server
        default: return nil
        }
    }

    private static func kind(_ status: Int) -> Kind? {
        switch status {
        case 401: .authentication
        case 402: .quota
        case 403: .permission
        case 404: .notFound
        case 408, 504: .timeout
        case 413: .tooLarge
        case 429: .rateLimit
        case 503, 529: .overloaded
        case 400..<500: .invalidRequest
        default: nil
        }
    }

    /// The status that the client's own provider would answer with.
    package func status(_ client: ModelProtocol) -> Int {
        switch kind {
        case .invalidRequest, .contextLength: 400
        case .authentication: 401
        case .quota: client == .messages ? 402 : 429
        case .permission: 403
        case .notFound: 404
        case .tooLarge: 413
        case .rateLimit: 429
        case .overloaded: client == .messages ? 529 : 503
        case .timeout: 504
        case .server: 500
        }
    }

    func type(_ client: ModelProtocol) -> String {
        if kind == .quota, client == .chatCompletions || client == .responses { return "insufficient_quota" }
        return ErrorShape.usualType(client, status(client))
    }

    /// OpenAI's finer word.
    func code(_ client: ModelProtocol) -> String? {
        guard client == .chatCompletions || client == .responses else { return nil }
        return switch kind {
        case .contextLength: "context_length_exceeded"
        case .quota: "insufficient_quota"
        case .rateLimit: "rate_limit_exceeded"
        case .overloaded: "server_is_overloaded"
        default: nil
        }
    }

    /// The provider's own words, and before them what Claude Code looks for when a conversation is too long.
    func message(_ client: ModelProtocol) -> String {
        guard client == .messages, kind == .contextLength else { return message }
        let known = message.lowercased().hasPrefix("prompt is too long") ? message : "prompt is too long: \(message)"
        return "\(known) (capability_rejected: prompt_too_long)"
    }

    /// A failed call's whole answer.
    package func answer(_ client: ModelProtocol, requestID: String, retryAfter: Duration? = nil) -> ErrorShape.Answer {
        ErrorShape.body(
            client, status: status(client), type: type(client), code: code(client), message: message(client), requestID: requestID,
            retryAfter: retryAfter, shouldRetry: kind == .quota ? false : nil)
    }
}
