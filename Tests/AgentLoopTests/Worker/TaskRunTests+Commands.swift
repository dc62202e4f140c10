import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import AgentLoop

/// Commands that run long, in the background, or are interrupted.
extension TaskRunTests {
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
