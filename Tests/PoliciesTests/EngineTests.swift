import Core
import Foundation
import Testing

@testable import Policies

@Suite struct EngineTests {
    private static let noon = try! Date("2026-11-23T12:00:00Z", strategy: .iso8601)

    private func facts(_ change: (inout PolicyFacts) -> Void = { _ in }) -> PolicyFacts {
        var facts = PolicyFacts(username: "lin", provider: "anthropic", model: "claude-opus-4-5", at: Self.noon, bytes: 1000)
        facts.client = "Claude Code"
        facts.groups = ["seniors"]
        change(&facts)
        return facts
    }

    /// One rule that denies, with these lines below it.
    private func set(_ lines: String, effect: String = "deny") throws -> PolicySet {
        let indented = lines.split(separator: "\n", omittingEmptySubsequences: false).map { "    \($0)" }.joined(separator: "\n")
        return PolicySet([
            try PolicyReader.read(
                """
                name: p
                default: allow
                rules:
                  - id: r
                    effect: \(effect)
                \(indented)
                """, carriers: .everything)
        ])
    }

    private func denies(_ lines: String, _ change: (inout PolicyFacts) -> Void = { _ in }) throws -> Bool {
        try set(lines).decide(facts(change)).effect == .deny
    }

    // MARK: Order

    @Test func `the first decision wins and a rule that flags decides nothing`() throws {
        let object = try PolicyReader.read(
            """
            name: models
            default: deny
            rules:
              - {id: watch, effect: flag}
              - {id: elsewhere, effect: route, to: cheap}
              - {id: second-route, effect: route, to: dear}
              - {id: lin-may, effect: allow, subjects: {users: lin}}
              - {id: nobody, effect: deny}
            """, carriers: .everything)
        let set = PolicySet([object])
        let allowed = set.decide(facts())
        #expect(allowed.effect == .allow && allowed.rule == "models/lin-may" && allowed.flags == ["models/watch"])
        #expect(allowed.route == .init(rule: "models/elsewhere", target: "cheap"))
        #expect(allowed.record == "models/lin-may route:models/elsewhere flag:models/watch")
        #expect(PolicyDecision.rule(ofRecord: allowed.record) == "models/lin-may")
        #expect(set.decide(facts { $0.username = "max" }).rule == "models/nobody")
    }

    @Test func `of the rules that apply the one that keeps least of the content counts, whatever their order`() throws {
        let object = try PolicyReader.read(
            """
            name: content
            default: allow
            rules:
              - {id: hashes, effect: keep, content: hashed}
              - {id: nothing-of-lin, effect: keep, content: none, subjects: {users: lin}}
              - {id: hashes-again, effect: keep, content: hashed}
            """)
        let set = PolicySet([object])
        let lin = set.decide(facts())
        #expect(lin.kept == .init(rule: "content/nothing-of-lin", content: .none))
        #expect(lin.record == "content/default keep:content/nothing-of-lin")
        let max = set.decide(facts { $0.username = "max" })
        #expect(max.kept == .init(rule: "content/hashes", content: .hashed))
        let steps = set.explain(facts()).steps
        #expect(steps.first?.because == "it applies and keeps content hashed" && steps.first?.outcome == .noted)
    }

    @Test func `objects are asked in their order, next asks the one after, and the default is the object's own`() throws {
        func object(_ name: String, _ order: Int, _ end: PolicyObject.Default, _ effect: PolicyEffect? = nil) -> PolicyObject {
            PolicyObject(name: name, order: order, calls: end, rules: effect.map { [PolicyRule(id: "r", effect: $0)] } ?? [])
        }
        #expect(PolicySet([]).decide(facts()).rule == PolicySet.fallback)
        #expect(PolicySet([object("b", 1, .deny), object("a", 2, .allow)]).decide(facts()).rule == "b/default")
        #expect(PolicySet([object("b", 1, .deny), object("a", 1, .allow)]).decide(facts()).rule == "a/default")
        #expect(PolicySet([object("a", 1, .next), object("b", 2, .deny)]).decide(facts()).rule == "b/default")
        #expect(PolicySet([object("a", 1, .allow), object("b", 2, .next, .deny)]).decide(facts()).rule == "a/default")
        #expect(PolicySet([object("a", 1, .next), object("b", 2, .next, .deny)]).decide(facts()).rule == "b/r")
        let denied = PolicySet([object("only", 1, .deny)]).decide(facts())
        #expect(denied.effect == .deny && denied.reason.contains("'claude-opus-4-5'") && denied.reason.contains("'only'"))
    }

    // MARK: Subjects and resources

    @Test func `users, groups and roles name people, of which one suffices`() throws {
        #expect(try denies("subjects: {users: [max, lin]}"))
        #expect(try !denies("subjects: {users: [max]}"))
        #expect(try denies("subjects: {users: ['l*']}"))
        #expect(try denies("subjects: {groups: [seniors]}"))
        #expect(try !denies("subjects: {groups: [juniors]}"))
        #expect(try denies("subjects: {groups: ['sen*']}"))
        #expect(try denies("subjects: {roles: [member, admin]}"))
        #expect(try !denies("subjects: {roles: [admin]}"))
        #expect(try denies("subjects: {users: [max], groups: [juniors], roles: [member]}"))
        let id = UserID()
        #expect(try denies("subjects: {users: ['\(id)']}") { $0.user = id })
    }

    @Test func `organization, task, template and client narrow, and what is not known matches nothing`() throws {
        #expect(try denies("subjects: {organizations: [default]}"))
        #expect(try denies("subjects: {organizations: ['\(OrganizationID.default)']}"))
        #expect(try !denies("subjects: {organizations: [other]}"))
        #expect(try !denies("subjects: {tasks: ['*']}"))
        let task = TaskID()
        #expect(try denies("subjects: {tasks: ['*']}") { $0.task = task })
        #expect(try denies("subjects: {tasks: ['\(task)']}") { $0.task = task })
        #expect(try !denies("subjects: {templates: ['*']}"))
        #expect(try denies("subjects: {templates: [gpu]}") { $0.template = "gpu" })
        #expect(try denies("subjects: {clients: ['Claude *']}"))
        #expect(try !denies("subjects: {clients: [Codex]}"))
        #expect(try !denies("subjects: {users: [lin], clients: [Codex]}"))
    }

    @Test func `resources are compared with what is asked for, and say what kind of question a rule answers`() throws {
        #expect(try denies("resources: {models: 'anthropic/claude-opus-*'}"))
        #expect(try denies("resources: {models: ['*']}"))
        #expect(try !denies("resources: {models: ['openai/*']}"))
        #expect(try denies("resources: {providers: ['anth*']}"))
        #expect(try !denies("resources: {protocols: [responses]}"))
        #expect(try denies("resources: {protocols: [messages]}"))
        // A rule about tools is not asked about calls, and the other way round.
        #expect(try !denies("resources: {tools: ['*']}"))
        #expect(try denies("resources: {tools: [bash]}") { ($0.question, $0.tool) = (.tool, "bash") })
        #expect(try !denies("resources: {tools: [bash]}") { ($0.question, $0.tool) = (.tool, "read") })
        #expect(try !denies("subjects: {users: [lin]}") { ($0.question, $0.tool) = (.tool, "bash") })
        #expect(
            try denies("resources: {mcp_servers: [github], tools: ['delete_*']}") {
                ($0.question, $0.mcpServer, $0.tool) = (.tool, "github", "delete_repository")
            })
        let redacting = try set("resources: {data_classes: ['secret.*']}", effect: "redact")
        let found = redacting.decide(facts { ($0.question, $0.dataClass) = (.data, "secret.aws") })
        #expect(found.effect == .redact && found.rule == "p/r")
        #expect(redacting.decide(facts { ($0.question, $0.dataClass) = (.data, "personal.email") }).effect == .allow)
    }

    @Test func `patterns match as written and none makes matching slow`() {
        for (pattern, name, matches) in [
            ("*", "", true), ("*", "a/b", true), ("", "", true), ("", "a", false), ("a*c", "abc", true), ("a*c", "ac", true),
            ("a*c", "acb", false), ("a*b*c", "a-b-b-c", true), ("*b", "ab", true), ("*b", "ba", false), ("a**", "a", true),
            ("p/é*", "p/été", true), ("abc", "abcd", false), ("abcd", "abc", false),
        ] { #expect(Pattern(pattern).matches(name) == matches, "\(pattern) ~ \(name)") }
        // With backtracking over every star this would take longer than the universe.
        let hostile = String(repeating: "a*", count: 100) + "b"
        #expect(!Pattern(hostile).matches(String(repeating: "a", count: 10_000)))
    }

    // MARK: Conditions

    @Test func `each condition holds where it should and nowhere else`() throws {
        #expect(try denies("when: {class: background}") { $0.requestClass = .background })
        #expect(try !denies("when: {class: background}"))
        #expect(try denies("when: {bytes: {at_least: 1000}}"))
        #expect(try !denies("when: {bytes: {below: 1000}}"))
        #expect(try !denies("when: {bytes: {at_least: 1001}}"))
        #expect(try denies("when: {tokens: {at_least: 250, below: 251}}"))
        #expect(try denies("when: {budget_percent: {at_least: 80}}") { $0.budgetPercent = 80 })
        #expect(try !denies("when: {budget_percent: {at_least: 80}}") { $0.budgetPercent = 79 })
        #expect(try !denies("when: {budget_percent: {at_least: 0}}") { $0.budgetPercent = nil })
        #expect(try set("when: {budget_percent: {below: 50}}").needsBudgets)
        #expect(try !set("when: {bytes: {below: 50}}").needsBudgets)
        #expect(try !denies("when: {class: background, bytes: {at_least: 1000}}"))
    }

    @Test func `time windows know days, midnight, and zones with their summer time`() throws {
        func at(_ text: String, _ window: String) throws -> Bool {
            let date = try Date(text, strategy: .iso8601)
            return try denies("when: {time: \(window)}") { $0.at = date }
        }
        let office = "{days: [mon, tue, wed, thu, fri], from: '08:00', to: '18:00'}"
        #expect(try at("2026-11-23T08:00:00Z", office))
        #expect(try !at("2026-11-23T07:59:59Z", office))
        #expect(try at("2026-11-23T17:59:59Z", office))
        #expect(try !at("2026-11-23T18:00:00Z", office))
        #expect(try !at("2026-11-22T12:00:00Z", office))
        // Friday's night ends on Saturday; Saturday has none.
        let night = "{days: [fri], from: '22:00', to: '06:00'}"
        #expect(try at("2026-11-20T22:00:00Z", night))
        #expect(try at("2026-11-21T05:59:00Z", night))
        #expect(try !at("2026-11-21T06:00:00Z", night))
        #expect(try !at("2026-11-21T23:00:00Z", night))
        #expect(try !at("2026-11-20T05:00:00Z", night))
        // Berlin: two hours ahead in summer, one in winter.
        let berlin = "{from: '08:00', to: '09:00', timezone: Europe/Berlin}"
        #expect(try at("2026-07-01T06:30:00Z", berlin))
        #expect(try !at("2026-07-01T07:30:00Z", berlin))
        #expect(try at("2026-12-01T07:30:00Z", berlin))
        #expect(try !at("2026-12-01T06:30:00Z", berlin))
        #expect(try at("1969-12-31T08:30:00Z", "[{days: [sun]}, {days: [wed]}]"))
        #expect(try !at("1969-12-30T08:30:00Z", "[{days: [sun]}, {days: [wed]}]"))
    }

    // MARK: Explaining

    @Test func `an explanation ends with the decision and says why each rule before it did not decide`() throws {
        let set = PolicySet([
            try PolicyReader.read(
                """
                name: first
                default: next
                rules:
                  - {id: admins, effect: allow, subjects: {roles: [admin]}}
                  - {id: codex, effect: allow, subjects: {clients: [Codex]}}
                  - {id: mini, effect: allow, resources: {models: ["anthropic/*-mini"]}}
                  - {id: huge, effect: deny, when: {bytes: {at_least: 5000}}}
                  - {id: seen, effect: flag}
                """),
            try PolicyReader.read("{name: second, default: deny, rules: []}"),
        ])
        let explanation = set.explain(facts())
        #expect(explanation.decision == set.decide(facts()))
        #expect(
            explanation.steps.map(\.rule) == [
                "first/admins", "first/codex", "first/mini", "first/huge", "first/seen", "second/default",
            ])
        #expect(explanation.steps.map(\.outcome) == [.passedOver, .passedOver, .passedOver, .passedOver, .noted, .decided])
        let words = explanation.steps.map(\.because)
        #expect(words[0] == "it is for role admin, not for lin (member; groups seniors)")
        #expect(words[1] == "it is for the client Codex, not for Claude Code")
        #expect(words[2] == "it is for the model anthropic/*-mini, not for anthropic/claude-opus-4-5")
        #expect(words[3] == "it is for at least 5000 bytes, not 1000")
    }

    @Test func `the policy that is built in allows, and its examples are policies`() throws {
        #expect(try BuiltInPolicy.read().calls == .allow)
        #expect(try PolicySet([BuiltInPolicy.read()]).decide(facts()).rule == "default/default")
        // Without the marks of comments, from the second `rules:` on.
        let examples = BuiltInPolicy.source.split(separator: "\n").drop { $0 != "# rules:" }.map { $0.dropFirst(2) }
        let text = "name: examples\ndefault: next\n" + examples.joined(separator: "\n")
        let object = try PolicyReader.read(text)
        #expect(object.rules.map(\.id) == ["large-models-for-seniors", "no-large-models", "nights-are-quiet", "large-prompts"])
    }

    /// About a microsecond in a release build; this only notices when a decision stops being a walk in memory.
    @Test func `a decision over two hundred rules takes no noticeable time`() throws {
        let rules = (0..<200).map { "  - {id: r\($0), effect: deny, resources: {models: ['p\($0)/*']}}" }.joined(separator: "\n")
        let set = PolicySet([try PolicyReader.read("name: many\ndefault: allow\nrules:\n\(rules)")])
        let facts = facts()
        let clock = ContinuousClock()
        let taken = clock.measure { for _ in 0..<1000 { #expect(set.decide(facts).effect == .allow) } }
        #expect(taken < .seconds(20))
    }
}
