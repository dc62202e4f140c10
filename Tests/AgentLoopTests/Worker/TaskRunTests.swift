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
            try await bench.service.content(of: bundle).write(to: clone.appendingPathComponent("out.bundle"))
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
            let text = String(decoding: try await bench.service.content(of: diff), as: UTF8.self)
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

    // MARK: Repositories

    @Test func `a base branch is where the work begins`() async throws {
        try await Bench.with([.answer(.text("Nothing to do."))]) { bench in
            let task = try await bench.create(baseBranch: "release")
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .completed)
            #expect(record.baseBranch == "release")
            #expect(!record.hasBundle)
        }
    }

    @Test func `an unknown base branch fails with the branches there are`() async throws {
        try await Bench.with([]) { bench in
            let task = try await bench.create(baseBranch: "relaese")
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .failed)
            #expect(record.reason == "repository")
            #expect(record.message?.contains("no branch 'relaese'. It has: main release.") == true, "\(record.message ?? "")")
        }
    }

    @Test(arguments: [Data("nonsense".utf8), Data("# v2 git bundle\n0123".utf8)])
    func `a broken bundle fails with what to do`(bundle: Data) async throws {
        try await Bench.with([]) { bench in
            let task = try await bench.create(bundle: bundle)
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .failed)
            #expect(record.message?.contains("not a whole git bundle") == true, "\(record.message ?? "")")
            #expect(record.message?.contains("git bundle create") == true)
        }
    }

    @Test func `hooks that the workload leaves in the repository do not run at the commit`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    (
                        "execute",
                        [
                            "command": .string(
                                "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch ../hooked\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo x > x"
                            )
                        ]
                    ))), .answer(.text("Add x")),
        ]) { bench in
            let task = try await bench.create()
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(try await bench.service.get(bench.principal, task.id).hasBundle)
            #expect(bench.sandbox.text("hooked") == nil)
        }
    }

    // MARK: What models get wrong

    @Test func `an unknown tool and wrong arguments are answered, and the model can go on`() async throws {
        try await Bench.with([
            .answer(.calls(("apply_patch", ["x": .integer(1)]), ("read_file", ["limit": .integer(3)]))),
            .answer(.text("Given up.")),
        ]) { bench in
            let task = try await bench.create()
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            let results = events.filter { $0.kind == .toolResult }
            #expect(results.map { $0.payload.isError } == [true, true])
            #expect(results[0].payload.text?.hasPrefix("There is no tool 'apply_patch'.") == true)
            #expect(results[1].payload.text == "read_file needs 'path', which is missing.")
        }
    }

    @Test func `the same call again and again is remarked, then pauses, and resuming goes on`() async throws {
        let model = ScriptedModel { conversation in
            let isResumed = conversation.messages.contains { $0.content.contains(.text("Stop that.")) }
            return isResumed ? .answer(.text("Stopped.")) : .answer(.calls(("list_files", [:])))
        }
        try await Bench.with(model) { bench in
            let task = try await bench.create()
            try await bench.working {
                let events = try await bench.untilEnd(task.id)
                #expect(events.filter { $0.kind == .remark }.count == 1)
                let record = try await bench.service.get(bench.principal, task.id)
                #expect(record.reason == "stuck")
                #expect(record.steps == 5)
                try await bench.service.send(bench.principal, task.id, text: "Stop that.")
                _ = try await bench.untilEnd(task.id, after: record.lastSeq)
            }
            #expect(try await bench.service.get(bench.principal, task.id).status == .completed)
        }
    }

    @Test func `a cut call is never made`() async throws {
        var cut = ModelAnswer.calls(("write_file", ["path": .string("greeting.txt"), "content": .string("half")]))
        cut.stopReason = .maxTokens
        try await Bench.with([.answer(cut), .answer(.text("I stop."))]) { bench in
            let task = try await bench.create()
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(bench.sandbox.text("sample/greeting.txt") == "hello\nworld\n")
            #expect(events.first { $0.kind == .toolResult }?.payload.text == Remark.cutCall)
        }
    }

    @Test func `an overloaded model is waited for without holding the task, and then asked again`() async throws {
        let failed = Flag()
        let model = ScriptedModel { _ in
            failed.raise()
                ? .failure(ModelFailure(.overloaded, "Overloaded", retryAfter: .milliseconds(10))) : .answer(.text("Here I am."))
        }
        try await Bench.with(model) { bench in
            let task = try await bench.create()
            try await bench.working {
                try await bench.until(.waiting, task.id)
                let record = try await bench.service.get(bench.principal, task.id)
                #expect(record.status == .waiting && record.reason == "model" && record.message == "Overloaded")
                let owner = try await bench.pool.query("SELECT worker_id FROM tasks")
                #expect(try owner[0]["worker_id", as: UUID?.self] == nil)
                let events = try await bench.untilEnd(task.id)
                #expect(events.filter { $0.kind == .stepStarted }.map { $0.payload.attempt } == [1, 2])
            }
        }
    }

    // MARK: Limits

    @Test func `limits pause, and resuming needs more`() async throws {
        let calls = ScriptedModel { conversation in
            .answer(.calls(("write_file", ["path": .string("f\(conversation.messages.count)"), "content": .string("x")])))
        }
        try await Bench.with(calls) { bench in
            let task = try await bench.create(limits: TaskLimits(cost: NanoDollars(2_000_000)))
            try await bench.working {
                let events = try await bench.untilEnd(task.id)
                let record = try await bench.service.get(bench.principal, task.id)
                #expect(record.status == .paused && record.reason == "limit_cost" && record.steps == 2)
                // What was done so far can be looked at.
                #expect(record.hasBundle && record.changedFiles == 2)
                let refused = await #expect(throws: AppError.self) { try await bench.service.resume(bench.principal, task.id) }
                #expect(refused?.field == "limits.max_cost")
                try await bench.service.resume(bench.principal, task.id, limits: TaskLimits(cost: NanoDollars(4_000_000)))
                _ = try await bench.untilEnd(task.id, after: events.count + 1)
                #expect(try await bench.service.get(bench.principal, task.id).steps == 4)
            }
        }
    }

    @Test func `the time limit ends a wait for a command, which runs on`() async throws {
        try await Bench.with([.answer(.calls(("execute", ["command": .string("sleep 30")])))]) { bench in
            let task = try await bench.create(limits: TaskLimits(seconds: 3))
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(events.last?.payload.reason == "limit_time")
            #expect(events.first { $0.kind == .toolResult }?.payload.text?.contains("still running after") == true)
        }
    }

    // MARK: Commands

    @Test func `a command that takes longer than its timeout runs on and is found again`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    (
                        "execute",
                        [
                            "command": .string("echo early; while [ ! -e ../go ]; do read -t 0.02 <> <(:) || :; done; echo late"),
                            "timeout_seconds": .integer(1),
                        ]
                    ),
                    ("execute", ["command": .string("touch ../go")]),
                    ("process_output", ["process": .string("p1")]),
                    ("process_output", ["process": .string("p9")]))), .answer(.text("Seen.")),
        ]) { bench in
            let task = try await bench.create()
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            let texts = events.filter { $0.kind == .toolResult }.map { $0.payload.text ?? "" }
            #expect(texts[0].contains("still running after 1.0 s as p1") && texts[0].hasSuffix("\nearly\n"))
            #expect(texts[2].contains("late"), "\(texts[2])")
            #expect(texts[3].hasPrefix("There is no process 'p9'. The last ones are: p1, p2."))
        }
    }

    @Test func `a background command is ended by a signal, with its children`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    ("execute", ["command": .string("sleep 300 & echo $! > ../child; wait"), "background": .bool(true)]),
                    ("process_signal", ["process": .string("p1")]))), .answer(.text("Ended.")),
        ]) { bench in
            let task = try await bench.create()
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            let texts = events.filter { $0.kind == .toolResult }.map { $0.payload.text ?? "" }
            #expect(texts[0].contains("started as p1, still running"))
            #expect(texts[1].contains("sent terminate; ended by signal 15"), "\(texts[1])")
            let child = try #require(bench.sandbox.text("child").flatMap { pid_t($0.trimmingCharacters(in: .newlines)) })
            // It got the signal before the command was over, but dies in its own time.
            try await eventually("the child has ended") { !isRunning(child) }
        }
    }

    /// A killed orphan runs nothing any more, but stays in the process table until whoever adopted it looks.
    private func isRunning(_ pid: pid_t) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let end = stat.lastIndex(of: ")") else {
            return false
        }
        return !stat[end...].hasPrefix(") Z") && !stat[end...].hasPrefix(") X")
    }

    @Test func `an interrupt ends a running command within a second`() async throws {
        try await Bench.with([
            .answer(.calls(("execute", ["command": .string("echo $$ > ../pid; sleep 300")]), ("list_files", [:])))
        ]) { bench in
            let task = try await bench.create()
            try await bench.working {
                try await bench.until(.toolCall, task.id)
                try await Self.exists(bench.sandbox, "pid")
                let clock = ContinuousClock()
                let start = clock.now
                try await bench.service.interrupt(bench.principal, task.id)
                let events = try await bench.until(.interrupted, task.id)
                #expect(clock.now - start < .seconds(1))
                let results = events.filter { $0.kind == .toolResult }
                #expect(results.count == 2)
                #expect(results[0].payload.text?.contains("interrupted by the user") == true)
                #expect(results[1].payload.text == Remark.interruptedCall)
                let pid = try #require(bench.sandbox.text("pid").flatMap { pid_t($0.trimmingCharacters(in: .newlines)) })
                #expect(!isRunning(pid))
                #expect(try await bench.service.get(bench.principal, task.id).status == .interrupted)
            }
        }
    }

    @Test func `an interrupt ends a model's answer within a second`() async throws {
        try await Bench.with([.stall]) { bench in
            let task = try await bench.create()
            try await bench.working {
                try await bench.until(.stepStarted, task.id)
                let clock = ContinuousClock()
                let start = clock.now
                try await bench.service.interrupt(bench.principal, task.id)
                try await bench.until(.interrupted, task.id)
                #expect(clock.now - start < .seconds(1))
            }
        }
    }

    static func exists(_ sandbox: LocalSandbox, _ path: String) async throws {
        try await eventually("\(path) is written") { sandbox.text(path)?.hasSuffix("\n") == true }
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
