import Core
import Foundation

/// Whether somebody waits for the answer.
package enum RequestClass: String, Sendable, CaseIterable {
    case interactive, background
}

/// All that a decision depends on. What is not known is nil, and a condition on it is then not met.
package struct PolicyFacts: Sendable, Hashable {
    package var question: PolicyQuestion = .call

    package var organization: OrganizationID = .default
    package var organizationName = "default"
    package var user = UserID()
    package var username: String
    package var roles: Set<Role>
    package var groups: Set<String> = []
    /// Set when an agent acts for the user.
    package var task: TaskID?
    /// Of the workspace that the call comes from.
    package var template: String?
    /// As `ClientProgram` names it: a claim of the client.
    package var client = "Unknown"

    /// The provider's name, not its type.
    package var provider: String
    package var model: String
    /// A `ModelProtocol`.
    package var modelProtocol: String
    package var tool: String?
    package var mcpServer: String?
    package var dataClass: String?

    package var at: Date
    /// Spent of the budget that is nearest to its end, in whole percent, rounded down; nil when none applies.
    package var budgetPercent: Int?
    package var requestClass = RequestClass.interactive
    /// Of the request's body.
    package var bytes: Int
    /// Of the input, as estimated: a quarter of its bytes.
    package var tokens: Int

    package init(
        username: String, roles: Set<Role> = [.member], provider: String, model: String, modelProtocol: String = "messages",
        at: Date, bytes: Int = 0
    ) {
        self.username = username
        self.roles = roles
        self.provider = provider
        self.model = model
        self.modelProtocol = modelProtocol
        self.at = at
        self.bytes = bytes
        tokens = Self.tokens(bytes: bytes)
    }

    package static func tokens(bytes: Int) -> Int { (bytes + 3) / 4 }
}
