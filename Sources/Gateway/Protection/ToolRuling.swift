import Core
import ModelAPI
import Policies

/// What the rules about tools say of the tools that somebody calls. A pure value.
struct ToolRuling: Sendable {
    let set: PolicySet
    /// Of the caller.
    private(set) var facts: PolicyFacts
    /// Tools that the gateway runs itself, and asks about when it does.
    var exempt: Set<String> = []

    /// Nil: no rule is about tools.
    init?(_ set: PolicySet, _ facts: PolicyFacts) {
        guard set.hasToolRules else { return nil }
        self.set = set
        self.facts = facts
        self.facts.question = .tool
    }

    /// - Parameter arguments: JSON; nil: they are not known.
    func decide(server: String? = nil, tool: String, arguments: String?) -> PolicyDecision {
        var facts = facts
        facts.tool = tool
        facts.mcpServer = server
        facts.arguments = arguments.flatMap { JSONLeaves.read($0) }?.map { ToolArgument(path: $0.path, text: $0.text) }
        return set.decide(facts)
    }

    /// The same of what comes from another place: rules may name it.
    func at(_ target: Target) -> ToolRuling {
        var ruling = self
        ruling.facts.provider = target.provider.name
        ruling.facts.model = target.model
        return ruling
    }

    /// Whether it need not even be offered.
    func refusesAlways(server: String, tool: String) -> Bool {
        var facts = facts
        facts.tool = tool
        facts.mcpServer = server
        return set.refusesAlways(facts)
    }
}

extension PolicyDecision {
    /// Which decisions are on record: those of rules. That no rule says anything is not.
    func findings(tool: String, path: String = "") -> [ContentFinding] {
        func finding(_ rule: String, _ effect: ContentFinding.Effect) -> ContentFinding {
            ContentFinding(
                place: ContentFinding.toolCall, path: path, subject: tool.storable(upTo: 512), rule: rule, effect: effect)
        }
        let flagged = flags.map { finding($0, .flagged) }
        if effect != .allow { return [finding(rule, .blocked)] + flagged }
        return rule == PolicySet.fallback ? flagged : [finding(rule, .allowed)] + flagged
    }

    /// What a client is told whose model wants to call a tool that it must not, or not yet; nil when it may.
    func toolRefusal(_ tool: String) -> AppError? {
        switch effect {
        case .allow: nil
        case .requireApproval:
            AppError(
                .policyDenied,
                "\(reason) The model wants to call it. Calls of a client's own tools cannot be approved one by one: ask an admin for a rule that allows this one, or delegate the work as a task, which asks. (policy rule \(rule))"
            )
        case .deny, .redact: AppError(.policyDenied, "\(reason) The model wants to call it. (policy rule \(rule))")
        }
    }
}
