import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import AgentLoop

@Suite(.serialized) struct TaskRunTests {
    static let change: [ScriptedModel.Reply] = [
        .answer(.calls(("read_file", ["path": .string("greeting.txt")]), ("search", ["pattern": .string("wor.d")]))),
        .answer(
            .calls(("edit_file", ["path": .string("greeting.txt"), "old_text": .string("hello"), "new_text": .string("good day")]))),
        .answer(.calls(("execute", ["command": .string("cat greeting.txt; echo ran >> ../log; exit 3")]))),
        .answer(.text("Greet politely\n\nThe greeting is polite now.")),
    ]

    @Test func `a task goes from a bundle to a commit, a diff and a bundle`() async throws {
        try await Bench.with(Self.change) { bench in
            let source = try bench.repository()
            let task = try await bench.create(bundle: source)
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(events.map(\.seq) == Array(1...events.count))
            #expect(
                events.map(\.kind) == [
                    .workspaceReady, .userMessage, .stepStarted, .toolCall, .toolCall, .cost, .toolResult, .toolResult,
                    .stepStarted, .toolCall,
                    .cost, .toolResult, .stepStarted, .toolCall, .cost, .toolResult, .stepStarted, .text, .cost, .committed,
                    .completed,
                ])
            let results = events.filter { $0.kind == .toolResult }
            #expect(results[0].payload.text == "1\thello\n2\tworld\n")
            #expect(results[1].payload.text == "greeting.txt:2: world")
            #expect(results[2].payload.text == "Edited greeting.txt. It now reads:\n1\tgood day\n2\tworld\n3\t")
            #expect(results[3].payload.text?.contains("\ngood day\nworld\n") == true)
            #expect(results[3].payload.exitCode == 3)

            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .completed)
            #expect(record.steps == 4)
            #expect(record.cost == NanoDollars(4_000_000))
            #expect(record.branch == "slipway/greet")
            #expect((record.changedFiles, record.additions, record.deletions) == (1, 1, 1))

            // The result is usable where the task came from, after the workspace is gone.
            bench.sandbox.remove()
            let clone = FileManager.default.temporaryDirectory.appendingPathComponent("slipway-clone-\(UUID())")
            try FileManager.default.createDirectory(at: clone, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: clone) }
            try source.write(to: clone.appendingPathComponent("in.bundle"))
            let bundle = try #require(try await bench.service.bundle(bench.principal, task.id))
            try await bench.service.beginning(of: bundle, upTo: .max).data.write(to: clone.appendingPathComponent("out.bundle"))
            try Bench.git(clone, "clone", "--quiet", "in.bundle", "repo")
            let repo = clone.appendingPathComponent("repo")
            try Bench.git(repo, "fetch", "--quiet", "../out.bundle", "slipway/greet:slipway/greet")
            #expect(try Bench.git(repo, "show", "slipway/greet:greeting.txt") == "good day\nworld\n")
            let log = try Bench.git(repo, "log", "-1", "--format=%an%n%B", "slipway/greet")
            #expect(
                log.hasPrefix(
                    "Slipway agent\nGreet politely\n\nThe greeting is polite now.\n\nOn-behalf-of: alice <alice@example.com>\nSlipway-Task: greet\n"
                ))
            let diff = try #require(try await bench.service.diff(bench.principal, task.id))
            let text = String(decoding: try await bench.service.beginning(of: diff, upTo: .max).data, as: UTF8.self)
            #expect(text.contains("-hello\n+good day\n"))
        }
    }

    @Test func `what is sent to the model has every result, in the protocol's order`() async throws {
        try await Bench.with(Self.change) { bench in
            let task = try await bench.create()
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let last = try #require(bench.model.calls.last).conversation
            #expect(last.messages.map(\.role) == [.user, .assistant, .user, .assistant, .user, .assistant, .user])
            #expect(last.system.contains(bench.sandbox.home + "/sample"))
            #expect(last.tools.count == 8)
            guard case .toolResult(let id, let text, let isError)? = last.messages[2].content.first else {
                Issue.record("\(last.messages[2])")
                return
            }
            #expect(id == "toolu_0_read_file" && text == "1\thello\n2\tworld\n" && !isError)
            // Each longer conversation begins with the shorter one.
            for (shorter, longer) in zip(bench.model.calls, bench.model.calls.dropFirst()) {
                #expect(
                    Array(longer.conversation.messages.prefix(shorter.conversation.messages.count)) == shorter.conversation.messages
                )
            }
        }
    }

    @Test func `prompt and schemas as sent are at most 12,000 bytes`() throws {
        let prompts = try PromptSet()
        let situation = PromptSet.Situation(
            directory: "/home/agent/" + String(repeating: "r", count: 60), branch: "slipway/" + String(repeating: "b", count: 60),
            base: String(repeating: "m", count: 60) + " (0123456789ab)")
        for api in [ModelProtocol.messages, .chatCompletions] {
            let body = Conversation(
                model: "m", system: prompts.system(for: situation), tools: prompts.schemas, messages: [.user("x")],
                maxOutputTokens: 16_000
            ).encode(as: api, stream: true)
            #expect(body.readableBytes <= 12_000, "\(api)")
        }
    }

    @Test func `a message that is sent while the model works comes in between steps`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    ("execute", ["command": .string("touch ../started; while [ ! -e ../go ]; do read -t 0.02 <> <(:) || :; done")]))
            ),
            .answer(.text("Done as you said.")),
        ]) { bench in
            let task = try await bench.create()
            try await bench.working {
                try await bench.until(.toolCall, task.id)
                try await bench.service.send(bench.principal, task.id, text: "Use French.")
                try Data().write(to: bench.sandbox.root.appendingPathComponent("go"))
                let events = try await bench.untilEnd(task.id)
                let queued = try #require(events.firstIndex { $0.kind == .messageQueued })
                let result = try #require(events.firstIndex { $0.kind == .toolResult })
                let injected = try #require(events.lastIndex { $0.kind == .userMessage })
                #expect(queued < result && result < injected)
            }
            let last = try #require(bench.model.calls.last).conversation.messages.last
            guard case .toolResult? = last?.content.first, case .text("Use French.")? = last?.content.last else {
                Issue.record("\(String(describing: last))")
                return
            }
        }
    }

    @Test func `a message after the end begins a new turn, and its commit is added`() async throws {
        try await Bench.with([
            .answer(.calls(("write_file", ["path": .string("a.txt"), "content": .string("a\n")]))), .answer(.text("Add a")),
            .answer(.calls(("write_file", ["path": .string("b.txt"), "content": .string("b\n")]))), .answer(.text("Add b")),
        ]) { bench in
            let task = try await bench.create()
            try await bench.working {
                let first = try await bench.untilEnd(task.id)
                try await bench.service.send(bench.principal, task.id, text: "And b.")
                let events = try await bench.untilEnd(task.id, after: first.count)
                #expect(events.filter { $0.kind == .committed }.count == 2)
            }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect((record.changedFiles, record.additions) == (2, 2))
            let files = try await bench.pool.query("SELECT count(*) AS n FROM files")
            // The bundle that came in, and the latest result alone.
            #expect(try files[0]["n", as: Int.self] == 3)
        }
    }
}

/// True once.
final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var isRaised = false
    func raise() -> Bool {
        lock.withLock {
            defer { isRaised = true }
            return !isRaised
        }
    }
}
