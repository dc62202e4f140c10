/// The one error type that crosses module boundaries. Whoever reads `message` knows what is wrong, where, and what to do.
///
/// `message` may be shown to anybody who made the call; `detail` is for the log alone. The HTTP status is computed once, at the edge.
package struct AppError: Error, Sendable {
    /// What kind of failure it is; the names are part of the API.
    package enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case unauthenticated
        case forbidden
        case notFound = "not_found"
        case conflict
        case tooLarge = "too_large"
        case rateLimited = "rate_limited"
        case budgetExceeded = "budget_exceeded"
        case policyDenied = "policy_denied"
        case unavailable
        case upstream
        case timeout
        case `internal`
    }

    /// Who has to change something for the call to succeed.
    package enum Source: String, Sendable { case client, upstream, server }

    package enum Retry: Sendable, Equatable {
        case never
        case now
        case after(Duration)
    }

    package var code: Code
    package var message: String
    package var detail: String?
    /// The request field or flag that was refused, e.g. `limits.max_steps`.
    package var field: String?
    package var source: Source
    package var retry: Retry
    package var cause: (any Error)?

    package init(
        _ code: Code, _ message: String, field: String? = nil, detail: String? = nil, source: Source? = nil, retry: Retry = .never,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.field = field
        self.detail = detail
        self.source = source ?? code.usualSource
        self.retry = retry
        self.cause = cause
    }
}

extension AppError.Code {
    fileprivate var usualSource: AppError.Source {
        switch self {
        case .badRequest, .unauthenticated, .forbidden, .notFound, .conflict, .tooLarge, .rateLimited, .budgetExceeded,
            .policyDenied:
            .client
        case .upstream: .upstream
        case .unavailable, .timeout, .internal: .server
        }
    }
}

extension AppError: CustomStringConvertible {
    package var description: String {
        var text = "\(code.rawValue): \(message)"
        if let field { text += " (field \(field))" }
        if let detail { text += " [\(detail)]" }
        if let cause { text += " <- \(cause)" }
        return text
    }
}
