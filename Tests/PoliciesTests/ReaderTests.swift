import Core
import Foundation
import Testing

@testable import Policies

@Suite struct ReaderTests {
    private func problems(_ text: String, _ carriers: PolicyCarriers = .everything) -> [PolicyProblem] {
        do {
            _ = try PolicyReader.read(text, carriers: carriers)
            return []
        } catch {
            return error.problems
        }
    }

    @Test func `all problems are told at once, each with its line and column`() {
        let found = problems(
            """
            name: Models
            default: maybe
            ordr: 5
            rules:
              - id: one
                efect: deny
              - id: two
                effect: deny
                subjects:
                  roles: [admn]
                resources: {models: [opus]}
                when:
                  bytes: {at_least: many}
                  time: {from: "25:00", timezone: Mars/Olympus}
            """)
        let places = found.map { "\($0.line):\($0.column)" }
        #expect(places == ["1:7", "2:10", "3:1", "6:5", "10:15", "11:26", "13:25", "14:20", "14:39"], "\(found)")
        #expect(found[2].message.contains("did you mean 'order'?"))
        #expect(found[1].message.contains("'maybe'") && found[1].message.contains("allow, deny or next"))
        #expect(found[3].message.contains("did you mean 'effect'?"))
        #expect(found.last?.message.contains("Mars/Olympus") == true)
    }

    @Test func `a protocol that there is not is refused, and a policy in force that names one stays readable`() throws {
        let text = """
            name: a
            default: next
            rules:
              - {id: b, effect: deny, resources: {protocols: ["chat_*", embeddings, soap]}}
            """
        let found = problems(text)
        #expect(found.map { "\($0.line):\($0.column)" } == ["4:73"], "\(found)")
        #expect(
            found.first?.message == "'soap' is no protocol; there are messages, chat_completions, responses, gemini, embeddings")
        #expect(try PolicyReader.read(text, isStored: true).rules[0].resources.protocols.texts.last == "soap")
        #expect(throws: PolicyFileError.self) {
            try PolicyCases.read("[{name: a, request: {user: ada, model: p/m, protocol: soap}, expect: allow}]", now: Date())
        }
    }

    @Test func `what is missing is named`() {
        #expect(problems("{name: a, rules: []}").first?.message.contains("'default'") == true)
        #expect(problems("{default: deny, rules: []}").first?.message.contains("'name'") == true)
        #expect(problems("{name: a, default: deny}").first?.message.contains("'rules'") == true)
        #expect(problems("{name: a, default: deny, rules: [{id: x}]}").first?.message.contains("'effect'") == true)
        #expect(problems("").first?.message == "there is nothing in it")
        #expect(problems("- a").first?.message.contains("'key: value'") == true)
    }

    @Test func `ids are used once and the second one is shown with its line`() {
        let found = problems("name: a\ndefault: deny\nrules:\n  - {id: x, effect: deny}\n  - {id: x, effect: allow}\n")
        #expect(found.map(\.line) == [5] && found[0].message.contains("line 4"))
        #expect(problems("{name: a, default: deny, rules: [{id: default, effect: deny}]}").count == 1)
    }

    @Test func `a list that is empty is no rule for nobody`() {
        #expect(problems("{name: a, default: deny, rules: [{id: x, effect: allow, subjects: {users: []}}]}").count == 1)
        #expect(problems("{name: a, default: deny, rules: [{id: x, effect: allow, when: {bytes: {}}}]}").count == 1)
        #expect(problems("{name: a, default: deny, rules: [{id: x, effect: allow, when: {time: []}}]}").count == 1)
        #expect(
            problems("{name: a, default: deny, rules: [{id: x, effect: allow, when: {bytes: {at_least: 5, below: 5}}}]}").count == 1
        )
    }

    @Test func `an effect that makes no sense or that nothing carries out is refused`() {
        func rule(_ rest: String, _ carriers: PolicyCarriers) -> String {
            problems("{name: a, default: deny, rules: [{id: x, \(rest)}]}", carriers).map(\.message).joined(separator: "; ")
        }
        #expect(rule("effect: redact", .everything).contains("makes no sense for model calls"))
        #expect(rule("effect: route", .everything).contains("must have 'to'"))
        #expect(rule("effect: deny, to: there", .everything).contains("'route' alone"))
        #expect(rule("effect: keep", .server).contains("must have 'content', hashed or none"))
        #expect(rule("effect: keep, content: full", .server).contains("must have 'content', hashed or none"))
        #expect(rule("effect: keep, content: some", .server).contains("content"))
        #expect(rule("effect: allow, content: none", .server).contains("'keep' alone"))
        #expect(rule("effect: keep, content: none, resources: {tools: [bash]}", .server).contains("makes no sense for tool calls"))
        #expect(rule("effect: keep, content: none", .server) == "")
        let few = PolicyCarriers(effects: [.call: [.allow, .deny]], knowsTemplates: false)
        #expect(rule("effect: route, to: cheap", few).contains("nothing on this server carries out 'route'"))
        #expect(rule("effect: deny, resources: {tools: [bash]}", few).contains("would protect nothing"))
        #expect(rule("effect: route, to: cheap", .server) == "")
        #expect(rule("effect: deny, resources: {tools: [bash]}", .server) == "")
        #expect(rule("effect: redact, resources: {data_classes: ['*']}", .server) == "")
        #expect(rule("effect: deny, subjects: {templates: [gpu]}", .server).contains("never apply"))
        #expect(rule("effect: deny, resources: {tools: [bash], data_classes: ['*']}", .everything).contains("make two rules"))
        for effect in ["allow", "deny", "require_approval", "flag"] { #expect(rule("effect: \(effect)", .server) == "") }
    }

    // MARK: Hostile files

    @Test func `an alias bomb is refused before it goes off`() {
        var bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for (name, before) in zip("bcdefghi", "abcdefgh") {
            bomb += "\(name): &\(name) [\(Array(repeating: "*\(before)", count: 9).joined(separator: ", "))]\n"
        }
        bomb += "? *i\n: 1\n? *i\n: 2\n"
        let found = problems(bomb)
        #expect(found.map(\.line) == [1] && found[0].column == 4 && found[0].message.contains("anchors"))
        #expect(problems("name: x\ndefault: deny\nrules: *r\n").first?.message.contains("alias") == true)
        for sneaky in ["{\"a\":&x 1}", "? &x a\n: b", "- &x\n- *x", "a: !!str &x y", "[&x 1,&y 2]", "&x {a: 1}"] {
            #expect(problems(sneaky).first?.message.contains("anchors") == true, "\(sneaky)")
        }
    }

    @Test func `an ampersand in words is no anchor`() throws {
        let object = try PolicyReader.read(
            """
            # see https://example.org/?a=1&b=2 and &this
            name: research
            description: R&D at AT&T & others
            default: deny
            rules: []
            """)
        #expect(object.description == "R&D at AT&T & others")
    }

    @Test func `deep nesting, long texts, several documents and bytes that are no text are refused with a place`() {
        for hostile in [
            String(repeating: "[", count: 100_000), String(repeating: "- ", count: 100_000),
            String(repeating: "{a: ", count: 60_000), String(repeating: "? ", count: 100_000),
            (0..<2000).map { String(repeating: " ", count: min($0, 100)) + "a:" }.joined(separator: "\n"),
        ] { #expect(problems(hostile).count == 1, "\(hostile.prefix(20))") }
        #expect(problems(String(repeating: "#", count: YAMLFields.longest + 1)).first?.message.contains("at most") == true)
        #expect(problems("name: a\n---\nname: b\n").count == 1)
        #expect(problems("name: \"\\0\"\ndefault: deny\nrules: []").first?.line == 1)
        #expect(problems("name: a\tb: c\n\tx: y").isEmpty == false)
        let twice = problems("name: a\ndefault: deny\nname: b\nrules: []\n")
        #expect(twice.count == 1 && twice[0].message.contains("'name'"))
        let many = (0..<501).map { "  - {id: r\($0), effect: deny}\n" }.joined()
        #expect(problems("name: a\ndefault: deny\nrules:\n\(many)").first?.message.contains("at most 500") == true)
        let names = (0..<1001).map { "u\($0)" }.joined(separator: ", ")
        #expect(
            problems("{name: a, default: deny, rules: [{id: x, effect: deny, subjects: {users: [\(names)]}}]}").first?.message
                .contains("1 to 1000") == true)
    }

    @Test func `JSON is read as it is`() throws {
        let object = try PolicyReader.read(
            #"{"name":"a","default":"deny","rules":[{"id":"x","effect":"allow","subjects":{"users":["lin"]}}]}"#)
        #expect(object.rules.first?.subjects.users.texts == ["lin"])
    }
}
