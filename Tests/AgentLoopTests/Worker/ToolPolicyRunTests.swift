import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import AgentLoop

/// Rules about the tools of a task.
@Suite(.serialized) struct ToolPolicyRunTests {
    /// Refuses commands with `rm`, and asks before others with `send`.
    private final class Rules: ToolPolicy {
        private let seen = NIOLockedValueBox<[String]>([])
        var asked: [String] { seen.withLockedValue { $0 } }

        func verdict(on tool: String, arguments: String, task: TaskID, for principal: Principal) async throws -> ToolVerdict {
            seen.withLockedValue { $0.append(tool) }
            if arguments.contains("rm ") { return .refused("Nothing is deleted here. (policy rule tools/no-deleting)") }
            if arguments.contains("send ") { return .needsApproval("Somebody must look at it. (policy rule tools/ask)") }
            return .allowed
        }
    }

    private static func execute(_ command: String) -> ScriptedModel.Reply {
        .answer(.calls(("execute", ["command": .string(command)])))
    }

    @Test func `a refused call is not made, and the model is told the rule`() async throws {
        try await Bench.with([Self.execute("echo rm >> ../log; rm greeting.txt"), .answer(.text("Then not."))]) { bench in
            let task = try await bench.create()
            let events = try await bench.working(try bench.worker { $0.toolPolicy = Rules() }) { try await bench.untilEnd(task.id) }
            #expect(events.last?.kind == .completed)
            #expect(bench.sandbox.text("sample/greeting.txt") == "hello\nworld\n" && bench.sandbox.text("log") == nil)
            let result = events.first { $0.kind == .toolResult }
            #expect(result?.payload.isError == true)
            let told = try #require(bench.model.calls.last).conversation.messages.description
            #expect(told.contains("Not carried out: Nothing is deleted here. (policy rule tools/no-deleting)"))
        }
    }

    @Test(arguments: [true, false]) func `a call that needs an approval pauses the task until somebody answers`(isGiven: Bool)
        async throws
    {
        let script = [Self.execute("echo send it >> ../log"), .answer(.text("Done."))]
        try await Bench.with(script) { bench in
            let task = try await bench.create()
            try await bench.working(try bench.worker { $0.toolPolicy = Rules() }) {
                let events = try await bench.untilEnd(task.id)
                #expect(events.last?.kind == .paused)
                let paused = try await bench.service.get(bench.principal, task.id)
                #expect(paused.status == .paused && paused.reason == "approval")
                #expect(paused.message?.contains("execute: Somebody must look at it. (policy rule tools/ask)") == true)
                #expect(bench.sandbox.text("log") == nil)
                // To go on is no approval: the rule is asked again.
                try await bench.service.resume(bench.principal, task.id)
                let again = try await bench.until(.paused, task.id, after: events.last?.seq ?? 0)
                #expect(bench.sandbox.text("log") == nil)

                try await bench.service.answerApproval(bench.principal, task.id, isGiven: isGiven)
                try await bench.until(.completed, task.id, after: again.last?.seq ?? 0)
            }
            #expect(bench.sandbox.text("log") == (isGiven ? "send it\n" : nil))
            let told = try #require(bench.model.calls.last).conversation.messages.description
            #expect(told.contains("alice did not allow it") == !isGiven)
            // There is nothing to answer any more.
            let late = await #expect(throws: AppError.self) {
                try await bench.service.answerApproval(bench.principal, task.id, isGiven: true)
            }
            #expect(late?.code == .conflict)
        }
    }
}
