/// An answer that is an error, before any protocol.
struct RequestError: Error {
    var status: Int
    /// Anthropic's type.
    var type: String
    var message: String
    var retryAfterSeconds: Int?

    static func invalid(_ message: String) -> RequestError {
        RequestError(status: 400, type: "invalid_request_error", message: message)
    }
}
