/// What a rule about content found in a call, or decided about a tool in it. Never what it was.
public struct ContentFinding: Codable, Sendable, Equatable {
    /// `prompt`, `tool_result`, `tool_input`, `answer`, or `tool_call` for a decision about a tool.
    public var place: String
    /// E.g. `messages[3].content[0].text`; nil where a stream has none.
    public var path: String?
    /// A data class such as `secret.github_token`, or the name of a tool.
    public var subject: String
    /// `<policy>/<rule>`.
    public var rule: String
    /// `blocked`, `redacted`, `flagged` or `allowed`.
    public var effect: String
    public var count: Int

    public init(place: String, path: String? = nil, subject: String, rule: String, effect: String, count: Int) {
        self.place = place
        self.path = path
        self.subject = subject
        self.rule = rule
        self.effect = effect
        self.count = count
    }
}
