/// The body of every answer that is no success.
public struct ErrorResponse: Codable, Sendable, Equatable {
    public struct Validation: Codable, Sendable, Equatable {
        public var field: String
        public var detail: String

        public init(field: String, detail: String) {
            self.field = field
            self.detail = detail
        }
    }

    /// E.g. `not_found`; see `docs/compatibility.md` for all of them.
    public var code: String
    /// What is wrong and what to do next, for people.
    public var message: String
    /// The id of the request, to be named to whoever can read the server's log.
    public var detail: String
    public var validations: [Validation]

    public init(code: String, message: String, detail: String, validations: [Validation] = []) {
        self.code = code
        self.message = message
        self.detail = detail
        self.validations = validations
    }
}
