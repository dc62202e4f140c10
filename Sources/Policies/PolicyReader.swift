import Core
import Foundation
import Yams

/// Reads a policy object out of YAML (or JSON, which is YAML).
package struct PolicyReader {
    /// Rules of one object.
    static let mostRules = 500

    private let carriers: PolicyCarriers
    /// It is in force already: what an earlier version took stays what it was.
    private let isStored: Bool
    var fields = YAMLFields()
    /// Those of the object.
    var patterns: [DataPattern] = []

    /// - Parameters:
    ///   - carriers: rules that ask for more are refused.
    ///   - isStored: names of protocols are taken as they are: a policy that is in force must not become unreadable.
    /// - Throws: with every problem, and its line and column.
    package static func read(
        _ text: String, carriers: PolicyCarriers = .server, isStored: Bool = false
    ) throws(PolicyFileError) -> PolicyObject {
        let root = try YAMLFields.compose(text)
        var reader = PolicyReader(carriers, isStored: isStored)
        let object = reader.object(root)
        guard reader.fields.problems.isEmpty, let object else { throw PolicyFileError(problems: reader.fields.problems) }
        return object
    }

    private init(_ carriers: PolicyCarriers, isStored: Bool) {
        self.carriers = carriers
        self.isStored = isStored
    }

    private mutating func object(_ root: Node) -> PolicyObject? {
        let map = fields.mapping(root, "a policy", keys: ["name", "description", "order", "default", "patterns", "rules"])
        for key in ["name", "default", "rules"] where map[key] == nil && fields.problems.isEmpty {
            fields.problem(root, "a policy must have '\(key)'\(Self.hints[key] ?? "")")
        }
        let name = fields.name(map["name"])
        let defaults = readDefault(map["default"])
        patterns = readPatterns(map["patterns"])
        var rules: [PolicyRule] = []
        if let field = map["rules"] {
            if case .sequence(let sequence) = field.node {
                rules = readRules(Array(sequence), field.node)
            } else {
                fields.problem(field.node, "'rules' must be a list; [] for none")
            }
        }
        guard let name, let defaults else { return nil }
        var object = PolicyObject(
            name: name, order: fields.number(map["order"], 0...1_000_000) ?? PolicyObject.usualOrder, calls: defaults.calls,
            rules: rules)
        object.tools = defaults.tools
        object.patterns = patterns
        object.description = fields.text(map["description"], longest: 4000)
        return object
    }

    private static let hints = [
        "default": ": what holds when no rule decides, 'allow', 'deny' or 'next' (ask the policy after this one)",
        "rules": ": a list; [] for none",
    ]

    private mutating func readDefault(_ field: YAMLField?) -> (calls: PolicyObject.Default, tools: PolicyObject.Default)? {
        guard let field else { return nil }
        guard case .mapping = field.node else { return fields.word(field).map { ($0, .next) } }
        let map = fields.mapping(field.node, "'default'", keys: ["calls", "tools"])
        guard let calls = fields.word(map["calls"], PolicyObject.Default.self) else {
            if map["calls"] == nil { fields.problem(field.node, "'default' must have 'calls'") }
            return nil
        }
        if let tools = map["tools"], carriers.effects[.tool] == nil {
            fields.problem(tools.node, "nothing on this server asks policies about tool calls yet; leave 'tools' out")
        }
        return (calls, fields.word(map["tools"]) ?? .next)
    }

    private mutating func readRules(_ nodes: [Node], _ list: Node) -> [PolicyRule] {
        guard nodes.count <= Self.mostRules else {
            fields.problem(list, "there are \(nodes.count) rules; a policy has at most \(Self.mostRules)")
            return []
        }
        var lines: [String: Int] = [:]
        return nodes.compactMap { node in
            guard let rule = rule(node) else { return nil }
            if let line = lines[rule.id] {
                fields.problem(node, "the id '\(rule.id)' is used already, in line \(line)")
            }
            lines[rule.id] = node.mark?.line ?? 0
            return rule
        }
    }

    private mutating func rule(_ node: Node) -> PolicyRule? {
        let known = fields.problems.count
        let map = fields.mapping(
            node, "a rule",
            keys: ["id", "description", "subjects", "resources", "when", "effect", "to", "content", "otherwise", "reason"])
        for key in ["id", "effect"] where map[key] == nil && fields.problems.count == known {
            fields.problem(node, "a rule must have '\(key)'")
        }
        let id = fields.name(map["id"])
        if id == "default", let field = map["id"] {
            fields.problem(field.node, "'default' names what holds when no rule decides; call the rule something else")
        }
        let word: PolicyEffect.Word? = fields.word(map["effect"])
        let target = fields.name(map["to"])
        let content = fields.word(map["content"], ContentMode.self)
        guard let id, let word else { return nil }
        var rule = PolicyRule(id: id, effect: effect(word, to: target, content: content))
        rule.description = fields.text(map["description"], longest: 4000)
        rule.reason = fields.text(map["reason"])
        if let field = map["subjects"] { rule.subjects = subjects(field.node) }
        if let field = map["resources"] { rule.resources = resources(field.node) }
        if let field = map["when"] { rule.conditions = conditions(field.node) }
        if let field = map["otherwise"] {
            rule.otherwise = fields.word(field) ?? .deny
            if word != .redact || ![.deny, .flag].contains(rule.otherwise) {
                fields.problem(field.node, "'otherwise' belongs to the effect 'redact' and is 'deny' or 'flag'")
            }
        }
        check(rule, word, map, node)
        return rule
    }

    private func effect(_ word: PolicyEffect.Word, to target: String?, content: ContentMode?) -> PolicyEffect {
        switch word {
        case .allow: .allow
        case .deny: .deny
        case .requireApproval: .requireApproval
        case .redact: .redact
        case .flag: .flag
        case .keep: .keep(content ?? .none)
        case .route: .route(to: target ?? "")
        }
    }

    /// What a rule asks for must make sense, and be carried out by something.
    private mutating func check(_ rule: PolicyRule, _ word: PolicyEffect.Word, _ map: [String: YAMLField], _ node: Node) {
        let place = map["effect"]?.node ?? node
        let resources = rule.resources
        if !resources.dataClasses.isEmpty, !resources.tools.isEmpty || !resources.mcpServers.isEmpty {
            fields.problem(node, "a rule is about data classes or about tools, not both; make two rules")
        }
        if !resources.places.isEmpty, resources.dataClasses.isEmpty {
            fields.problem(node, "'places' belongs to rules with 'data_classes' alone")
        }
        let question = rule.question
        if !rule.conditions.arguments.isEmpty, question != .tool {
            fields.problem(node, "'arguments' belongs to rules with 'tools' or 'mcp_servers' alone")
        }
        if !question.effects.contains(word) {
            fields.problem(
                place,
                "'\(word.rawValue)' makes no sense for \(question.noun): a rule about them can \(Self.words(question.effects))")
        } else if carriers.effects[question]?.contains(word) != true {
            let carried = carriers.effects[question] ?? []
            fields.problem(
                place,
                carried.isEmpty
                    ? "nothing on this server carries out rules about \(question.noun) yet, so this one would protect nothing"
                    : "nothing on this server carries out '\(word.rawValue)' for \(question.noun) yet; use \(Self.words(carried))")
        }
        if word == .route, map["to"] == nil {
            fields.problem(node, "a rule with effect 'route' must have 'to', the name of a target")
        }
        if word == .keep, map["content"] == nil || rule.effect == .keep(.full) {
            fields.problem(
                map["content"]?.node ?? node,
                "a rule with effect 'keep' must have 'content', hashed or none: how much stays on record")
        }
        if word != .keep, let content = map["content"] {
            fields.problem(content.node, "'content' belongs to the effect 'keep' alone")
        }
        if word != .route, let to = map["to"] { fields.problem(to.node, "'to' belongs to the effect 'route' alone") }
    }

    private static func words(_ effects: Set<PolicyEffect.Word>) -> String {
        YAMLFields.either(PolicyEffect.Word.allCases.filter(effects.contains).map(\.rawValue))
    }

    // MARK: Parts of a rule

    private mutating func subjects(_ node: Node) -> PolicyRule.Subjects {
        var subjects = PolicyRule.Subjects()
        let map = fields.mapping(
            node, "'subjects'", keys: ["users", "groups", "roles", "organizations", "tasks", "templates", "clients"])
        subjects.users = fields.patterns(map["users"])
        subjects.groups = fields.patterns(map["groups"])
        for (text, node) in fields.texts(map["roles"]) {
            guard let role = Role(rawValue: text) else {
                fields.problem(node, "'\(text)' is no role; there are \(Role.allCases.map(\.rawValue).joined(separator: ", "))")
                continue
            }
            subjects.roles.insert(role)
        }
        subjects.organizations = fields.patterns(map["organizations"])
        subjects.tasks = fields.patterns(map["tasks"])
        subjects.templates = fields.patterns(map["templates"])
        if let field = map["templates"], !carriers.knowsTemplates {
            fields.problem(field.node, "calls do not know the template of their workspace yet, so this rule would never apply")
        }
        subjects.clients = fields.patterns(map["clients"])
        return subjects
    }

    private mutating func resources(_ node: Node) -> PolicyRule.Resources {
        var resources = PolicyRule.Resources()
        let map = fields.mapping(
            node, "'resources'", keys: ["providers", "models", "protocols", "tools", "mcp_servers", "data_classes", "places"])
        resources.providers = fields.patterns(map["providers"])
        for (text, node) in fields.texts(map["models"]) where text != "*" && !text.contains("/") {
            fields.problem(node, "'\(text)' must be '<provider>/<model>', with * for any characters, e.g. 'anthropic/*'")
        }
        resources.models = map["models"].map { PatternList(Self.plainTexts($0.node)) } ?? PatternList()
        resources.protocols = fields.patterns(map["protocols"])
        for (text, node) in fields.texts(map["protocols"]) where !isStored && !PolicyProtocol.isAny(Pattern(text)) {
            fields.problem(
                node,
                "'\(text.prefix(64))' is no protocol; there are \(PolicyProtocol.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        resources.tools = fields.patterns(map["tools"])
        resources.mcpServers = fields.patterns(map["mcp_servers"])
        resources.dataClasses = dataClasses(map["data_classes"])
        for (text, node) in fields.texts(map["places"]) {
            if let place = DataPlace(rawValue: text) {
                resources.places.insert(place)
            } else {
                fields.problem(
                    node, "'\(text.prefix(64))' is no place; there are \(YAMLFields.either(DataPlace.allCases.map(\.rawValue)))")
            }
        }
        return resources
    }

    /// Of what was checked before.
    private static func plainTexts(_ node: Node) -> [String] {
        if case .sequence(let sequence) = node { return sequence.compactMap(\.scalar?.string) }
        return [node.scalar?.string].compactMap(\.self)
    }

    private mutating func conditions(_ node: Node) -> PolicyRule.Conditions {
        var conditions = PolicyRule.Conditions()
        let map = fields.mapping(node, "'when'", keys: ["time", "budget_percent", "class", "bytes", "tokens", "arguments"])
        if let field = map["time"] {
            let windows = fields.list(field)
            if windows.isEmpty { fields.problem(field.node, "'time' has no window; leave it out for always") }
            conditions.time = windows.compactMap { window($0) }
        }
        conditions.budgetPercent = bounds(map["budget_percent"], 0...1000)
        conditions.requestClass = fields.word(map["class"])
        conditions.bytes = bounds(map["bytes"], 0...1 << 40)
        conditions.tokens = bounds(map["tokens"], 0...1 << 40)
        conditions.arguments = arguments(map["arguments"])
        return conditions
    }

    private mutating func bounds(_ field: YAMLField?, _ range: ClosedRange<Int>) -> PolicyRule.Bounds {
        guard let field else { return .init() }
        let map = fields.mapping(field.node, "'\(field.key)'", keys: ["at_least", "below"])
        let bounds = PolicyRule.Bounds(atLeast: fields.number(map["at_least"], range), below: fields.number(map["below"], range))
        if map.isEmpty { fields.problem(field.node, "'\(field.key)' must have 'at_least', 'below' or both") }
        if let low = bounds.atLeast, let high = bounds.below, low >= high {
            fields.problem(field.node, "no number is at least \(low) and below \(high)")
        }
        return bounds
    }

    private mutating func window(_ node: Node) -> TimeWindow? {
        let known = fields.problems.count
        let map = fields.mapping(node, "a window of 'time'", keys: ["days", "from", "to", "timezone"])
        var window = TimeWindow()
        for (text, node) in fields.texts(map["days"]) {
            if let day = TimeWindow.Day(text) {
                window.days.insert(day)
            } else {
                fields.problem(
                    node, "'\(text)' is no day; there are \(TimeWindow.Day.allCases.map { "\($0)" }.joined(separator: ", "))")
            }
        }
        window.from = clock(map["from"]) ?? 0
        window.to = clock(map["to"]) ?? 1440
        if let name = fields.text(map["timezone"]), let field = map["timezone"] {
            if let zone = name == "UTC" ? .gmt : TimeZone(identifier: name) {
                window.zone = zone
            } else {
                fields.problem(field.node, "'\(name)' is no time zone; they look like Europe/Berlin, or UTC")
            }
        }
        if map.isEmpty, fields.problems.count == known { fields.problem(node, "a window must have 'days', 'from' or 'to'") }
        return fields.problems.count == known ? window : nil
    }

    private mutating func clock(_ field: YAMLField?) -> Int? {
        guard let field else { return nil }
        guard let text = field.node.scalar?.string, let minutes = TimeWindow.minutes(text) else {
            fields.problem(field.node, "'\(field.key)' must be a time of day such as \"08:00\", at most \"24:00\"")
            return nil
        }
        return minutes
    }
}
