import Core

/// What a rule does with what it applies to.
package enum PolicyEffect: Sendable, Hashable {
    case allow
    case deny
    case requireApproval
    /// What was found is taken out of the text.
    case redact
    /// A mark on the record; the rules that follow are asked nevertheless.
    case flag
    /// How much of a call's content stays on record; the rules that follow are asked nevertheless.
    case keep(ContentMode)
    /// To a named target; the rules that follow are asked nevertheless.
    case route(to: String)

    /// As policies write it.
    package enum Word: String, Sendable, CaseIterable {
        case allow, deny
        case requireApproval = "require_approval"
        case redact, flag, keep, route
    }

    package var word: Word {
        switch self {
        case .allow: .allow
        case .deny: .deny
        case .requireApproval: .requireApproval
        case .redact: .redact
        case .flag: .flag
        case .keep: .keep
        case .route: .route
        }
    }
}

/// What is asked of the policies: a rule answers the kind of question that its resources are about.
package enum PolicyQuestion: String, Sendable, CaseIterable {
    /// May this model call be made? Rules that name neither tools nor MCP servers nor data classes.
    case call
    /// May this tool be called? Rules that name tools or MCP servers.
    case tool
    /// What happens to data of this class, found in a text? Rules that name data classes.
    case data

    /// The effects that make sense for it, whether or not something carries them out.
    var effects: Set<PolicyEffect.Word> {
        switch self {
        case .call: [.allow, .deny, .requireApproval, .flag, .keep, .route]
        case .tool: [.allow, .deny, .requireApproval, .flag]
        case .data: [.allow, .deny, .redact, .flag]
        }
    }

    /// For messages.
    var noun: String {
        switch self {
        case .call: "model calls"
        case .tool: "tool calls"
        case .data: "data classes"
        }
    }
}

/// What this server carries out. A rule that asks for more is refused when it is written: a policy must not look as if it protected.
///
/// Whoever builds a part that carries an effect out adds it to `server`.
package struct PolicyCarriers: Sendable {
    package var effects: [PolicyQuestion: Set<PolicyEffect.Word>]
    /// Whether calls know the template of the workspace that they come from.
    package var knowsTemplates: Bool

    package init(effects: [PolicyQuestion: Set<PolicyEffect.Word>], knowsTemplates: Bool) {
        self.effects = effects
        self.knowsTemplates = knowsTemplates
    }

    package static let server = PolicyCarriers(
        effects: [
            // An approval of a whole call has nobody who could give it: such a call is refused, and told so.
            .call: PolicyQuestion.call.effects,
            .data: PolicyQuestion.data.effects, .tool: PolicyQuestion.tool.effects,
        ],
        knowsTemplates: false)

    /// Everything that the language has, for tests of the engine.
    package static let everything = PolicyCarriers(
        effects: Dictionary(uniqueKeysWithValues: PolicyQuestion.allCases.map { ($0, $0.effects) }), knowsTemplates: true)
}
