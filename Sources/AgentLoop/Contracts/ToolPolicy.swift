import Core

/// What may be done with a tool call that a model asks for.
package enum ToolVerdict: Sendable, Equatable {
    case allowed
    /// The sentence goes to the model; it names the rule.
    case refused(String)
    /// A person has to allow it first; the sentence is for them.
    case needsApproval(String)
}

/// Rules about the tools of tasks.
package protocol ToolPolicy: Sendable {
    /// Asked before a call is made, also when it was asked for before and a person has allowed it since.
    ///
    /// - Parameter arguments: JSON, as the model wrote them.
    /// - Throws: `unavailable` while the rules cannot be known.
    func verdict(on tool: String, arguments: String, task: TaskID, for principal: Principal) async throws -> ToolVerdict
}
