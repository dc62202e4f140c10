/// How an agent says no. The body of every answer that is not 2xx.
package struct AgentFailure: Error, Codable, Sendable, Hashable {
    package enum Code: String, Codable, Sendable {
        case badRequest = "bad_request"
        case notFound = "not_found"
        case denied
        /// A higher fence was seen; `fence` says which.
        case staleFence = "stale_fence"
        /// The call id belongs to another call.
        case callReused = "call_reused"
        /// It was begun, and whether it took effect cannot be known.
        case unknownEffect = "unknown_effect"
        case tooLarge = "too_large"
        case noSpace = "no_space"
        case busy
        case timeout
        case `internal`
    }

    package var code: Code
    package var message: String
    package var fence: Fence?

    package init(_ code: Code, _ message: String, fence: Fence? = nil) {
        (self.code, self.message, self.fence) = (code, message, fence)
    }

    package var status: Int {
        switch code {
        case .badRequest: 400
        case .denied: 403
        case .notFound: 404
        case .staleFence, .callReused, .unknownEffect: 409
        case .tooLarge: 413
        case .busy: 503
        case .timeout: 504
        case .noSpace: 507
        case .internal: 500
        }
    }
}
