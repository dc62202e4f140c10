import Core
import NIOCore

/// Errors of the gateway in the words of the client's protocol, so that its SDK retries, waits and reports as it would with the provider.
package enum ErrorShape {
    package struct Answer: Sendable {
        package var status: Int
        package var headers: [(name: String, value: String)]
        package var body: ByteBuffer
    }

    /// - Parameters:
    ///   - type: the provider's kind; nil takes the usual one of the status.
    ///   - retryAfter: rounded up to whole seconds.
    ///   - shouldRetry: false stops clients that would repeat a call in vain, such as one beyond its budget.
    package static func body(
        _ api: ModelProtocol, status: Int, type: String? = nil, message: String, requestID: String, retryAfter: Duration? = nil,
        shouldRetry: Bool? = nil
    ) -> Answer {
        let type = type ?? usualType(api, status)
        var headers = [(name: "content-type", value: "application/json")]
        headers.append((name: api == .messages ? "request-id" : "x-request-id", value: requestID))
        if let retryAfter {
            let parts = retryAfter.components
            headers.append((name: "retry-after", value: String(max(0, parts.seconds + (parts.attoseconds > 0 ? 1 : 0)))))
        }
        if let shouldRetry { headers.append((name: "x-should-retry", value: shouldRetry ? "true" : "false")) }
        return Answer(status: status, headers: headers, body: object(api, type, message, requestID).buffer)
    }

    /// An error in the middle of a stream, and its end. Put it between two events.
    package static func streamError(
        _ api: ModelProtocol, type: String? = nil, status: Int = 500, message: String, requestID: String
    ) -> ByteBuffer {
        let json = object(api, type ?? usualType(api, status), message, requestID).text
        return switch api {
        case .messages: ByteBuffer(string: "event: error\ndata: \(json)\n\n")
        case .chatCompletions: ByteBuffer(string: "data: \(json)\n\ndata: [DONE]\n\n")
        }
    }

    private static func object(_ api: ModelProtocol, _ type: String, _ message: String, _ requestID: String) -> JSONWriter {
        JSONWriter.object { json in
            switch api {
            case .messages:
                json.field("type", "error")
                json.fieldObject("error") {
                    $0.field("type", type)
                    $0.field("message", message)
                }
                json.field("request_id", requestID)
            case .chatCompletions:
                json.fieldObject("error") {
                    $0.field("message", message)
                    $0.field("type", type)
                    $0.key("param")
                    $0.null()
                    $0.key("code")
                    $0.null()
                }
            }
        }
    }

    /// The kind that the provider would name with the status.
    package static func usualType(_ api: ModelProtocol, _ status: Int) -> String {
        switch (api, status) {
        case (_, 401): "authentication_error"
        case (.messages, 402): "billing_error"
        case (_, 403): "permission_error"
        case (_, 404): "not_found_error"
        case (.messages, 413): "request_too_large"
        case (.messages, 429): "rate_limit_error"
        case (.chatCompletions, 429): "rate_limit_exceeded"
        case (_, 400..<500): "invalid_request_error"
        case (_, 504): "timeout_error"
        case (.messages, 529): "overloaded_error"
        case (.messages, _): "api_error"
        case (.chatCompletions, _): "server_error"
        }
    }
}
