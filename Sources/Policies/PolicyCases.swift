import Core
import Foundation
import Yams

/// Requests and what is expected of the policies for each: tests that admins write.
package struct PolicyCases: Sendable {
    package struct Case: Sendable {
        package var name: String
        package var facts: PolicyFacts
        package var effect: PolicyDecision.Effect?
        package var rule: String?
        package var flags: [String]?
        package var route: String?
        package var content: ContentMode?
    }

    package struct Outcome: Sendable {
        package var name: String
        package var decision: PolicyDecision
        /// What was not as expected; nil: everything was.
        package var problem: String?
    }

    package var cases: [Case]

    /// - Throws: with every problem, and its line and column.
    package static func read(_ text: String, now: Date) throws(PolicyFileError) -> PolicyCases {
        let root = try YAMLFields.compose(text)
        var reader = Reader(now: now)
        let cases = reader.cases(root)
        guard reader.fields.problems.isEmpty else { throw PolicyFileError(problems: reader.fields.problems) }
        return PolicyCases(cases: cases)
    }

    /// One request, as a case has it.
    package static func readRequest(_ text: String, now: Date) throws(PolicyFileError) -> PolicyFacts {
        let root = try YAMLFields.compose(text)
        var reader = Reader(now: now)
        let facts = reader.facts(root)
        guard reader.fields.problems.isEmpty, let facts else { throw PolicyFileError(problems: reader.fields.problems) }
        return facts
    }

    package func run(_ set: PolicySet) -> [Outcome] {
        cases.map { test in
            let decision = set.decide(set.resolved(test.facts))
            return Outcome(name: test.name, decision: decision, problem: test.problem(decision))
        }
    }

    private struct Reader {
        var fields = YAMLFields()
        let now: Date

        mutating func cases(_ root: Node) -> [Case] {
            let map = fields.mapping(root, "a file of cases", keys: ["cases"])
            guard let field = map["cases"] else {
                if fields.problems.isEmpty { fields.problem(root, "a file of cases must have 'cases', a list") }
                return []
            }
            guard case .sequence(let sequence) = field.node, (1...10_000).contains(sequence.count) else {
                fields.problem(field.node, "'cases' must be a list of 1 to 10000 cases")
                return []
            }
            return sequence.enumerated().compactMap { one($0.element, number: $0.offset + 1) }
        }

        private mutating func one(_ node: Node, number: Int) -> Case? {
            let map = fields.mapping(node, "a case", keys: ["name", "request", "expect", "rule", "flags", "route", "content"])
            guard let request = map["request"], map["expect"] != nil || map["rule"] != nil else {
                fields.problem(node, "a case must have 'request', and 'expect' or 'rule'")
                return nil
            }
            guard let facts = facts(request.node) else { return nil }
            return Case(
                name: fields.text(map["name"]) ?? "case \(number)", facts: facts, effect: fields.word(map["expect"]),
                rule: fields.text(map["rule"]), flags: map["flags"].map { list(of: $0) }, route: fields.text(map["route"]),
                content: fields.word(map["content"], ContentMode.self))
        }

        /// Here an empty list has a meaning.
        private mutating func list(of field: YAMLField) -> [String] {
            if case .sequence(let sequence) = field.node, sequence.isEmpty { return [] }
            return fields.texts(field).map(\.text)
        }

        mutating func facts(_ node: Node) -> PolicyFacts? {
            let map = fields.mapping(
                node, "a request",
                keys: [
                    "user", "roles", "groups", "organization", "task", "template", "client", "model", "protocol", "tool",
                    "mcp_server", "arguments", "data_class", "place", "text", "at", "budget_percent", "class", "bytes", "tokens",
                ])
            // Tools of MCP servers are called without a model.
            let isCall = ["tool", "mcp_server", "data_class", "text"].allSatisfy { map[$0] == nil }
            let model = fields.text(map["model"]) ?? (isCall ? "" : "/")
            guard let slash = model.firstIndex(of: "/") else {
                fields.problem(map["model"]?.node ?? node, "a request must have 'model', as '<provider>/<model>'")
                return nil
            }
            var facts = PolicyFacts(
                username: fields.text(map["user"]) ?? "somebody", provider: String(model[..<slash]),
                model: String(model[model.index(after: slash)...]), at: date(map["at"]) ?? now)
            if let field = map["roles"] {
                facts.roles = Set(
                    list(of: field).compactMap { name in
                        guard let role = Role(rawValue: name) else {
                            fields.problem(field.node, "'\(name)' is no role")
                            return nil
                        }
                        return role
                    })
            }
            facts.groups = Set(map["groups"].map { list(of: $0) } ?? [])
            facts.organizationName = fields.text(map["organization"]) ?? facts.organizationName
            if let text = fields.text(map["task"]), let field = map["task"] {
                facts.task = TaskID(text)
                if facts.task == nil { fields.problem(field.node, "'\(text)' is no id of a task: a UUID is expected") }
            }
            facts.template = fields.text(map["template"])
            facts.client = fields.text(map["client"]) ?? facts.client
            facts.modelProtocol = fields.word(map["protocol"], PolicyProtocol.self)?.rawValue ?? facts.modelProtocol
            facts.tool = fields.text(map["tool"])
            facts.mcpServer = fields.text(map["mcp_server"])
            facts.dataClass = fields.text(map["data_class"])
            facts.place = fields.word(map["place"])
            if let field = map["arguments"] { facts.arguments = fields.arguments(field) }
            if let text = fields.text(map["text"], longest: 64 << 10), let field = map["text"] {
                if facts.dataClass != nil { fields.problem(field.node, "give either 'text' or 'data_class'") }
                facts.text = text
            }
            facts.question =
                facts.dataClass != nil || facts.text != nil ? .data : facts.tool != nil || facts.mcpServer != nil ? .tool : .call
            facts.budgetPercent = fields.number(map["budget_percent"], 0...1_000_000)
            facts.requestClass = fields.word(map["class"]) ?? .interactive
            facts.bytes = fields.number(map["bytes"], 0...1 << 40) ?? 0
            facts.tokens = fields.number(map["tokens"], 0...1 << 40) ?? PolicyFacts.tokens(bytes: facts.bytes)
            return facts
        }

        private mutating func date(_ field: YAMLField?) -> Date? {
            guard let field, let text = fields.text(field) else { return nil }
            guard let date = try? Date(text, strategy: .iso8601) else {
                fields.problem(field.node, "'\(field.key)' must be a time such as 2026-11-21T12:00:00Z")
                return nil
            }
            return date
        }
    }
}

extension PolicyCases.Case {
    fileprivate func problem(_ decision: PolicyDecision) -> String? {
        var wrong: [String] = []
        if let effect, effect != decision.effect { wrong.append("expected \(effect.rawValue)") }
        if let rule, rule != decision.rule { wrong.append("expected the rule \(rule)") }
        if let flags, flags != decision.flags {
            wrong.append("expected \(flags.isEmpty ? "no flags" : "the flags \(flags.joined(separator: ", "))")")
        }
        if let route, route != decision.route?.target { wrong.append("expected the route \(route)") }
        if let content, content != decision.kept?.content ?? .full { wrong.append("expected content \(content.rawValue)") }
        if wrong.isEmpty { return nil }
        let flags = decision.flags.isEmpty ? "" : ", flags \(decision.flags.joined(separator: ", "))"
        return wrong.joined(separator: " and ") + ", got \(decision.effect.rawValue) by \(decision.rule)\(flags)"
    }
}
