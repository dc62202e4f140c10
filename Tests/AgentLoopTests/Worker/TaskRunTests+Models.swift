import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import AgentLoop

/// What models get wrong, and limits.
extension TaskRunTests {
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
}
