import Core
import ModelAPI
import NIOCore

/// The gateway's own errors in the words of the client's protocol.
enum Refusal {
    static func answer(_ error: AppError, _ api: ModelProtocol, requestID: String, interception: InterceptionID?) -> GatewayAnswer {
        let (status, type, shouldRetry) = shape(error, api)
        var retryAfter: Duration?
        if case .after(let time) = error.retry { retryAfter = time }
        let shaped = ErrorShape.body(
            api, status: status, type: type, message: error.message, requestID: requestID, retryAfter: retryAfter,
            shouldRetry: shouldRetry)
        var headers = shaped.headers
        if let interception { headers.append((name: "x-slipway-interception-id", value: interception.description)) }
        return GatewayAnswer(status: shaped.status, headers: headers, body: GatewayBody(shaped.body))
    }

    private static func shape(_ error: AppError, _ api: ModelProtocol) -> (status: Int, type: String?, shouldRetry: Bool?) {
        switch error.code {
        case .badRequest: (400, nil, false)
        // Clients repeat a 409 by themselves unless they are told not to.
        case .conflict: (409, nil, false)
        case .unauthenticated: (401, nil, false)
        case .forbidden, .policyDenied: (403, nil, false)
        case .notFound: (404, nil, false)
        case .tooLarge: (413, nil, false)
        case .rateLimited: (429, nil, nil)
        // What each provider says when an account has no money left. Repeating it is of no use.
        case .budgetExceeded: api == .messages ? (402, "billing_error", false) : (429, "insufficient_quota", false)
        case .unavailable: (503, nil, true)
        case .upstream: (502, nil, nil)
        case .timeout: (504, nil, nil)
        case .internal: (500, nil, nil)
        }
    }
}
