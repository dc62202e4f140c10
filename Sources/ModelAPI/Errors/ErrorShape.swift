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
    ///   - code: OpenAI's finer word; nil where there is none.
    ///   - retryAfter: rounded up to whole seconds.
    ///   - shouldRetry: false stops clients that would repeat a call in vain, such as one beyond its budget.
    package static func body(
        _ api: ModelProtocol, status: Int, type: String? = nil, code: String? = nil, message: String, requestID: String,
        retryAfter: Duration? = nil, shouldRetry: Bool? = nil
    ) -> Answer {
        let type = type ?? usualType(api, status)
        var headers = [(name: "content-type", value: "application/json")]
        headers.append((name: api == .messages ? "request-id" : "x-request-id", value: requestID))
        if let retryAfter {
            let parts = retryAfter.components
            headers.append((name: "retry-after", value: String(max(0, parts.seconds + (parts.attoseconds > 0 ? 1 : 0)))))
        }
        if let shouldRetry { headers.append((name: "x-should-retry", value: shouldRetry ? "true" : "false")) }
        return Answer(status: status, headers: headers, body: object(api, type, code, message, requestID, status).buffer)
    }

    /// An error in the middle of a stream, and its end. Put it between two events.
    package static func streamError(
        _ api: ModelProtocol, type: String? = nil, code: String? = nil, status: Int = 500, message: String, requestID: String
    ) -> ByteBuffer {
        let json = object(api, type ?? usualType(api, status), code, message, requestID, status).text
        return switch api {
        case .messages: ByteBuffer(string: "event: error\ndata: \(json)\n\n")
        case .chatCompletions: ByteBuffer(string: "data: \(json)\n\ndata: [DONE]\n\n")
        case .gemini: ByteBuffer(string: "data: \(json)\n\n")
        case .responses: responsesFailure(type ?? usualType(api, status), message)
        }
    }

    /// Some clients know only the event, others only the failed answer.
    private static func responsesFailure(_ code: String, _ message: String) -> ByteBuffer {
        let event = JSONWriter.object { json in
            json.field("type", "error")
            json.field("code", code)
            json.field("message", message)
            json.fieldNull("param")
            json.field("sequence_number", 0)
        }
        let failed = JSONWriter.object { json in
            json.field("type", "response.failed")
            json.field("sequence_number", 1)
            json.fieldObject("response") {
                $0.field("id", "resp_failed")
                $0.field("object", "response")
                $0.field("status", "failed")
                $0.fieldObject("error") {
                    $0.field("code", code)
                    $0.field("message", message)
                }
                $0.fieldArray("output") { _ in }
                $0.fieldNull("usage")
            }
        }
        return ByteBuffer(string: "event: error\ndata: \(event.text)\n\nevent: response.failed\ndata: \(failed.text)\n\n")
    }

    private static func object(
        _ api: ModelProtocol, _ type: String, _ code: String?, _ message: String, _ requestID: String, _ status: Int
    ) -> JSONWriter {
        JSONWriter.object { json in
            switch api {
            case .messages:
                json.field("type", "error")
                json.fieldObject("error") {
                    $0.field("type", type)
                    $0.field("message", message)
                }
                json.field("request_id", requestID)
            case .chatCompletions, .responses:
                json.fieldObject("error") {
                    $0.field("message", message)
                    $0.field("type", type)
                    $0.fieldNull("param")
                    // By this code clients tell that waiting will not help.
                    if let code = code ?? (type == "insufficient_quota" ? type : nil) {
                        $0.field("code", code)
                    } else {
                        $0.fieldNull("code")
                    }
                }
            case .gemini:
                json.fieldObject("error") {
                    $0.field("code", status)
                    $0.field("message", message)
                    $0.field("status", type)
                }
            }
        }
    }

    /// The kind that the provider would name with the status.
    package static func usualType(_ api: ModelProtocol, _ status: Int) -> String {
        switch api {
        case .messages: messagesType(status)
        case .chatCompletions, .responses: openAIType(status)
        case .gemini: geminiType(status)
        }
    }

    private static func messagesType(_ status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 402: "billing_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 400..<500: "invalid_request_error"
        case 504: "timeout_error"
        case 529: "overloaded_error"
        default: "api_error"
        }
    }

    private static func openAIType(_ status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 429: "rate_limit_exceeded"
        case 400..<500: "invalid_request_error"
        case 504: "timeout_error"
        default: "server_error"
        }
    }

    private static func geminiType(_ status: Int) -> String {
        switch status {
        case 401: "UNAUTHENTICATED"
        case 403: "PERMISSION_DENIED"
        case 404: "NOT_FOUND"
        case 429: "RESOURCE_EXHAUSTED"
        case 400..<500: "INVALID_ARGUMENT"
        case 503, 529: "UNAVAILABLE"
        case 504: "DEADLINE_EXCEEDED"
        default: "INTERNAL"
        }
    }
}
