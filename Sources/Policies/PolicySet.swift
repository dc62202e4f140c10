import Core

/// All policies of an organization, put in order once; a decision is then a walk over rules in memory.
///
/// The first decision wins. Rules that only mark or route are carried along; where an object says `next` the one after it is asked, and
/// behind the last one everything is allowed.
package struct PolicySet: Sendable {
    private enum Entry: Sendable {
        case rule(PolicyRule, id: String)
        case end(allows: Bool, id: String)

        var id: String {
            switch self {
            case .rule(_, let id), .end(_, let id): id
            }
        }
    }

    /// In the order in which they are asked.
    package let objects: [PolicyObject]
    /// Whether a rule needs to know what is spent of budgets.
    package let needsBudgets: Bool
    package let hasToolRules: Bool
    /// Whether a rule sends calls elsewhere.
    package let hasRoutes: Bool
    /// Whether a rule leaves less of calls on record than there is.
    package var keepsLess: Bool { objects.contains { $0.rules.contains { $0.effect.word == .keep } } }
    /// What rules about data ask for; empty: nothing has to be looked for.
    package let detectors: [Detector]
    /// Whether prompts and answers have to be looked into at all.
    package var hasContentRules: Bool { !detectors.isEmpty || hasToolRules }
    private let entries: [PolicyQuestion: [Entry]]
    private let calls: [Entry]

    /// What decides when nothing else does.
    package static let fallback = "default:no-rule"

    package init(_ objects: [PolicyObject]) {
        let objects = objects.sorted { ($0.order, $0.name) < ($1.order, $1.name) }
        self.objects = objects
        needsBudgets = objects.contains { $0.rules.contains { $0.conditions.budgetPercent != .init() } }
        var entries: [PolicyQuestion: [Entry]] = [:]
        for question in PolicyQuestion.allCases {
            entries[question] = objects.flatMap { object in
                var found = object.rules.filter { $0.question == question }.map { Entry.rule($0, id: "\(object.name)/\($0.id)") }
                let end: PolicyObject.Default =
                    switch question {
                    case .call: object.calls
                    case .tool: object.tools
                    // What no rule speaks of passes.
                    case .data: .next
                    }
                if end != .next { found.append(.end(allows: end == .allow, id: "\(object.name)/default")) }
                return found
            }
        }
        self.entries = entries
        calls = entries[.call] ?? []
        hasRoutes = objects.contains { $0.rules.contains { $0.effect.word == .route } }
        hasToolRules = !(entries[.tool] ?? []).isEmpty
        detectors = Self.detectors(objects)
    }

    private static func detectors(_ objects: [PolicyObject]) -> [Detector] {
        let wanted = objects.flatMap(\.rules).map(\.resources.dataClasses).filter { !$0.isEmpty }
        if wanted.isEmpty { return [] }
        // A pattern was tried when its policy was read.
        let own = objects.flatMap(\.patterns).compactMap { try? Detector.pattern($0.name, $0.match) }
        return (own + Detector.secrets + Detector.personal).filter { detector in wanted.contains { $0.names(detector.name) } }
    }

    package func decide(_ facts: PolicyFacts) -> PolicyDecision {
        var steps: [PolicyExplanation.Step]?
        return walk(facts, &steps)
    }

    /// Whether a tool is refused to somebody whatever it is called with. A rule that asks for an approval does not refuse for good.
    package func refusesAlways(_ facts: PolicyFacts) -> Bool {
        for entry in entries[.tool] ?? [] {
            switch entry {
            case .end(let allows, _): return !allows
            case .rule(var rule, _):
                let depends = !rule.conditions.arguments.isEmpty
                rule.conditions.arguments = []
                if rule.mismatch(facts, name: "\(facts.provider)/\(facts.model)") != nil { continue }
                switch rule.effect {
                // What some arguments are allowed for can be called.
                case .allow: return false
                case .deny, .redact: if !depends { return true }
                case .requireApproval: return false
                case .flag, .keep, .route: continue
                }
            }
        }
        return false
    }

    /// The same decision, with every rule that was asked before it.
    package func explain(_ facts: PolicyFacts) -> PolicyExplanation {
        var steps: [PolicyExplanation.Step]? = []
        let decision = walk(facts, &steps)
        return PolicyExplanation(decision: decision, steps: steps ?? [])
    }

    private func walk(_ facts: PolicyFacts, _ steps: inout [PolicyExplanation.Step]?) -> PolicyDecision {
        let name = "\(facts.provider)/\(facts.model)"
        var flags: [String] = []
        var route: PolicyDecision.Route?
        var kept: PolicyDecision.Kept?
        for entry in facts.question == .call ? calls : entries[facts.question] ?? [] {
            var decision: PolicyDecision
            switch entry {
            case .end(let allows, let id):
                let because = "no rule before it decided, and its policy says '\(allows ? "allow" : "deny")'"
                steps?.append(.init(rule: id, outcome: .decided, because: because))
                decision = PolicyDecision(effect: allows ? .allow : .deny, rule: id, reason: allows ? "" : facts.notAllowed(by: id))
            case .rule(let rule, let id):
                if let mismatch = rule.mismatch(facts, name: name) {
                    if steps != nil {
                        steps?.append(.init(rule: id, outcome: .passedOver, because: rule.words(mismatch, facts)))
                    }
                    continue
                }
                let outcome: PolicyDecision.Effect
                switch rule.effect {
                case .allow: outcome = .allow
                case .deny: outcome = .deny
                case .requireApproval: outcome = .requireApproval
                case .redact: outcome = .redact
                case .flag:
                    flags.append(id)
                    steps?.append(.init(rule: id, outcome: .noted, because: "it applies and flags"))
                    continue
                case .keep(let content):
                    if content > kept?.content ?? .full { kept = .init(rule: id, content: content) }
                    steps?.append(.init(rule: id, outcome: .noted, because: "it applies and keeps content \(content.rawValue)"))
                    continue
                case .route(let target):
                    route = route ?? .init(rule: id, target: target)
                    steps?.append(.init(rule: id, outcome: .noted, because: "it applies and routes to '\(target)'"))
                    continue
                }
                steps?.append(.init(rule: id, outcome: .decided, because: "it applies: \(rule.effect.word.rawValue)"))
                let reason = outcome == .allow ? "" : rule.reason ?? facts.refused(outcome, by: id)
                decision = PolicyDecision(effect: outcome, rule: id, reason: reason)
                if outcome == .redact { decision.otherwise = rule.otherwise }
            }
            decision.flags = flags
            decision.route = route
            decision.kept = kept
            return decision
        }
        steps?.append(.init(rule: Self.fallback, outcome: .decided, because: "no policy decided; then everything is allowed"))
        return PolicyDecision(effect: .allow, rule: Self.fallback, reason: "", flags: flags, route: route, kept: kept)
    }
}

extension PolicyFacts {
    private var who: String { "\(username) (\(roles.sorted().map(\.rawValue).joined(separator: ", ")))" }

    private var what: String {
        switch question {
        case .call: "The model '\(model)' of provider '\(provider)'"
        case .tool: "The tool '\(tool ?? "")'\(mcpServer.map { " of '\($0)'" } ?? "")"
        case .data: "Data of the class '\(dataClass ?? "")'"
        }
    }

    fileprivate func notAllowed(by rule: String) -> String {
        "\(what) is not allowed for \(who): no rule of the policy '\(rule.prefix { $0 != "/" })' allows it."
    }

    fileprivate func refused(_ effect: PolicyDecision.Effect, by rule: String) -> String {
        switch effect {
        case .requireApproval: "\(what) needs an approval for \(who)."
        case .redact: "\(what) is taken out."
        case .allow, .deny: "\(what) is not allowed for \(who)."
        }
    }
}
