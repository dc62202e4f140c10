import Core
@testable import DemoModel
import Foundation
import Testing

/// The format of scenario files, and the choice of a reply.
struct ScenarioTests {
    private func library(_ yaml: String) throws -> ScenarioLibrary { try ScenarioLibrary(files: ["test.yaml": yaml]) }

    private func conversation(_ turns: [DemoConversation.Turn]) -> DemoConversation {
        DemoConversation(model: "demo-scripted", isStreamed: false, turns: turns, fingerprint: "f")
    }

    @Test func `the sample repository is not taken for scenarios`() throws {
        let embedded = try ScenarioLibrary.embedded()
        #expect(embedded.models.contains("demo-scripted-fix-failing-test"))
        #expect(!embedded.models.contains { $0.contains("/") || $0.contains("README") })
    }

    @Test func `every embedded scenario says that it is scripted, where it says anything`() throws {
        for scenario in try ScenarioLibrary.embedded().scenarios {
            for rule in scenario.rules where rule.reply.calls.isEmpty && rule.reply.fault == nil {
                guard let text = rule.reply.text else { continue }
                #expect(text.lowercased().contains("script") || text.contains("slow line"), "\(scenario.name): \(text)")
            }
        }
    }

    @Test(arguments: [
        ("description: x\nrules: []", "\"when\" is missing"),
        ("description: x\nwhen: '('\nrules: []", "not a regular expression"),
        ("description: x\nwhen: y\nrulez: []", "unknown key \"rulez\""),
        ("description: x\nwhen: y\nrules: [{trun: 1, reply: {}}]", "rules.[0]: unknown key \"trun\""),
        ("description: x\nwhen: y\nrules: [{turn: one, reply: {}}]", "rules.[0].turn"),
        ("description: x\nwhen: y\nrules: [{reply: {fault: {kind: gone}}}]", "rules.[0].reply.fault.kind"),
        ("description: [", "test.yaml"),
    ])
    func `a mistake in a scenario is named with its file and place`(yaml: String, expected: String) throws {
        let error = #expect(throws: AppError.self) { try library(yaml) }
        #expect(error?.message.contains("config/demo/test.yaml") == true)
        #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
    }

    @Test func `the first rule that fits wins, by turn, result and failure`() throws {
        let library = try library(
            """
            description: x
            when: begin
            rules:
              - {turn: 0, reply: {text: first}}
              - {turn: 1, failed: true, reply: {text: failed}}
              - {turn: 1, result: 'ran (\\d+) of (\\d+)', reply: {text: "$1 and $2"}}
              - {turn: 1, user: hurry, reply: {text: hurried}}
              - {reply: {text: other}}
            """)
        func reply(_ turns: [DemoConversation.Turn]) -> String? {
            library.reply(to: conversation(turns), model: "demo-scripted").text
        }
        let begin = DemoConversation.Turn(role: .user, text: "begin")
        let call = DemoConversation.Turn(role: .assistant, calls: [.init(id: "1", name: "t")])
        func result(_ text: String, _ isError: Bool = false) -> DemoConversation.Turn {
            .init(role: .user, results: [.init(id: "1", text: text, isError: isError)])
        }
        #expect(reply([begin]) == "first")
        #expect(reply([.init(role: .user, text: "begin"), .init(role: .user, text: "and hurry"), call]) == "hurried")
        #expect(reply([begin, call, result("ran 3 of 4")]) == "3 and 4")
        #expect(reply([begin, call, result("ran 3 of 4", true)]) == "failed")
        #expect(reply([begin, call, result("nothing"), .init(role: .user, text: "hurry")]) == "hurried")
        #expect(reply([begin, call, result("nothing")]) == "other")
        #expect(reply([begin, call, result("x"), call, result("ran 3 of 4")]) == "other")
        #expect(reply([begin, call, result("x"), begin]) == "first", "saying it again begins again")
        #expect(reply([.init(role: .user, text: "unknown")])?.contains("not an AI") == true)
    }
}
