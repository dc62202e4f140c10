import Core
import DemoModel
import Foundation
import ModelAPI
import Testing

/// The demo's task, played on the real sample repository over real HTTP, in both protocols.
@Suite(.timeLimit(.minutes(1)))
struct MainScenarioTests {
    static let prompt = "A test fails. Find the bug, fix it, and show that all tests pass."

    @Test(arguments: [ModelProtocol.messages, .chatCompletions], [true, false])
    func `the script finds the bug, fixes it and sees the tests pass`(kind: ModelProtocol, stream: Bool) async throws {
        try await Client.with { client in
            try await SampleWorkspace.with { workspace in
                var conversation = Conversation(
                    model: ScenarioLibrary.model, system: "You are an agent.", messages: [.user(Self.prompt)], maxOutputTokens: 4096
                )
                var used: [String] = []
                var testRuns: [String] = []
                while true {
                    let answer = try await client.ask(conversation, kind, stream: stream)
                    #expect(answer.status == 200 && answer.reader.isComplete)
                    #expect(answer.header("x-slipway-scripted") == "true")
                    conversation.messages.append(.assistant(answer.reader.blocks))
                    var results: [ContentBlock] = []
                    for case .toolUse(let id, let name, let input, let isComplete) in answer.reader.blocks {
                        #expect(isComplete)
                        used.append(name)
                        let result = try workspace.run(name, input)
                        #expect(!result.isError, "\(name) \(input): \(result.text)")
                        if name == "execute" { testRuns.append(result.text) }
                        results.append(.toolResult(id: id, text: result.text, isError: result.isError))
                    }
                    if results.isEmpty {
                        #expect(answer.reader.stopReason == .endTurn)
                        #expect(answer.reader.text.hasPrefix("Give a tier's discount from its smallest quantity on\n\n"))
                        #expect(answer.reader.text.contains("all 8 pass after it"))
                        #expect(answer.reader.text.contains("not from an AI"))
                        break
                    }
                    #expect(answer.reader.stopReason == .toolUse)
                    conversation.messages.append(Message(role: .user, content: results))
                    try #require(conversation.messages.count < 30)
                }
                #expect(
                    used == ["list_files", "read_file", "execute", "read_file", "read_file", "edit_file", "execute"])
                #expect(testRuns.count == 2)
                #expect(testRuns.first?.contains("FAILED (failures=1)") == true)
                #expect(testRuns.last?.contains("OK") == true)
                #expect(try workspace.text("pricing/discounts.py").contains("if quantity >= smallest:"))
            }
        }
    }

    @Test func `words of the user in between do not disturb the script`() async throws {
        try await Client.with { client in
            var conversation = Conversation(
                model: ScenarioLibrary.model, system: "", messages: [.user(Self.prompt)], maxOutputTokens: 4096)
            let first = try await client.ask(conversation)
            conversation.messages.append(.assistant(first.reader.blocks))
            let results = first.reader.blocks.compactMap { block -> ContentBlock? in
                guard case .toolUse(let id, _, _, _) = block else { return nil }
                return .toolResult(id: id, text: "README.md", isError: false)
            }
            conversation.messages.append(Message(role: .user, content: results))
            let undisturbed = try await client.ask(conversation)
            conversation.messages.append(.user("Please go on, and be careful."))
            let disturbed = try await client.ask(conversation)
            #expect(disturbed.reader.text == undisturbed.reader.text)
        }
    }

    @Test func `the same request gets the same bytes`() async throws {
        try await Client.with { client in
            let conversation = Conversation(
                model: ScenarioLibrary.model, system: "s", messages: [.user(Self.prompt)], maxOutputTokens: 4096)
            for kind in [ModelProtocol.messages, .chatCompletions] {
                for stream in [true, false] {
                    let first = try await client.ask(conversation, kind, stream: stream)
                    let second = try await client.ask(conversation, kind, stream: stream)
                    #expect(first.body == second.body)
                }
            }
        }
    }
}
