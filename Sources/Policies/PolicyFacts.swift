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
    /// What the tool is called with; nil: it cannot be read. Then no rule that allows by arguments applies, and every other does.
    package var arguments: [ToolArgument]? = []
    package var dataClass: String?
    /// For trying: what data there is has to be found in it first; see `PolicySet.resolved`.
    package var text: String?
    /// Where the data was found.
    package var place: DataPlace?

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

/// A value that a tool is called with: texts, numbers and words of its arguments, however deep.
package struct ToolArgument: Sendable, Hashable {
    /// Names and numbers from the outside in, e.g. `files.0.path`.
    package var path: String
    package var text: String

    package init(path: String, text: String) {
        self.path = path
        self.text = text
    }
}

/// Where data is found.
package enum DataPlace: String, Sendable, CaseIterable {
    /// What the model is told, but for results of tools and its own earlier calls.
    case prompt
    case toolResult = "tool_result"
    /// What a tool is called with: in an answer, in the conversation that it becomes, and on the way to an MCP server.
    case toolInput = "tool_input"
    /// Text of the model, thoughts included.
    case answer
}

extension PolicySet {
    /// Of the classes of data in a text that is tried, the one with the worst outcome; `none` when nothing is found.
    package func resolved(_ facts: PolicyFacts) -> PolicyFacts {
        guard let text = facts.text else { return facts }
        func with(_ dataClass: String) -> PolicyFacts {
            var facts = facts
            facts.dataClass = dataClass
            return facts
        }
        func rank(_ facts: PolicyFacts) -> Int {
            let decision = decide(facts)
            switch decision.effect {
            case .deny, .requireApproval: return 3
            case .redact: return 2
            case .allow: return decision.flags.isEmpty ? 0 : 1
            }
        }
        let classes = Set(TextScanner.findings(in: text, detectors).map(\.detector)).sorted()
        return classes.map(with).max { rank($0) < rank($1) } ?? with("none")
    }
}

/// What a call speaks, as records and rules name it.
package enum PolicyProtocol: String, Sendable, CaseIterable {
    case messages
    case chatCompletions = "chat_completions"
    case responses, gemini, embeddings

    /// Whether the pattern is about any of them.
    static func isAny(_ pattern: Pattern) -> Bool { allCases.contains { pattern.matches($0.rawValue) } }
}
