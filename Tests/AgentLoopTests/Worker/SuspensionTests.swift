import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import AgentLoop

/// An owner who is suspended, or has other roles, while a task runs.
@Suite struct SuspensionTests {
    /// A command that begins, waits for `go`, and ends.
    private static let gated = ModelAnswer.calls(
        ("execute", ["command": .string("echo begun > ../begun; while [ ! -e ../go ]; do read -t 0.02 <> <(:) || :; done")]))

    /// - Parameter change: what happens to the owner while the first step's command runs.
    private func run(
        _ change: (Bench, TaskRecord) async throws -> Void
    ) async throws -> (events: [TaskEvent], task: TaskRecord, model: ScriptedModel) {
        try await Bench.with([.answer(Self.gated), .answer(.text("Done."))]) { bench in
            let task = try await bench.create()
            let events = try await bench.working {
                try await TaskRunTests.exists(bench.sandbox, "begun")
                try await change(bench, task)
                return try await bench.untilEnd(task.id)
            }
            return (events, try await bench.service.get(bench.principal, task.id), bench.model)
        }
    }

    @Test func `the next step of a suspended owner's task does not begin`() async throws {
        let (events, task, model) = try await run { bench, _ in
            // Behind everybody's back, as when the asking to stop comes too late for this step.
            try await bench.pool.execute("UPDATE users SET status = 'suspended'")
            try Data().write(to: bench.sandbox.root.appendingPathComponent("go"))
        }
        #expect(model.calls.count == 1)
        #expect(task.status == .interrupted)
        #expect(events.last?.payload.by == "the server, because its owner's account is suspended")
        #expect(task.message?.contains("account is suspended") == true)
    }

    @Test func `what runs is interrupted with the suspension`() async throws {
        let (events, task, model) = try await run { bench, _ in
            try await bench.pool.withTransaction {
                try await $0.execute("UPDATE users SET status = 'suspended'")
                try await TaskStore.interruptAll(
                    of: bench.principal.user, bench.principal.organization, by: "root, who suspended the account", $0)
            }
        }
        #expect(model.calls.count == 1)
        #expect(task.status == .interrupted && task.message == "Interrupted by root, who suspended the account.")
        #expect(events.contains { $0.kind == .interruptRequested && $0.payload.by == "root, who suspended the account" })
        #expect(events.map(\.seq) == Array(1...events.count))
    }

    @Test func `a step is made with the roles that its owner has then`() async throws {
        let (_, task, model) = try await run { bench, _ in
            try await bench.pool.execute("UPDATE users SET roles = ARRAY['auditor']")
            try Data().write(to: bench.sandbox.root.appendingPathComponent("go"))
        }
        #expect(task.status == .completed)
        #expect(model.calls.map(\.principal.roles) == [[.member], [.auditor]])
    }

    @Test func `tasks at rest are left alone, and waiting ones are taken up to end`() async throws {
        try await Bench.with([]) { bench in
            let waiting = try await bench.create(name: "waiting")
            let done = try await bench.create(name: "done")
            let other = try await Bench.user("bob", bench.pool)
            try await bench.pool.execute(
                "UPDATE tasks SET status = 'waiting', wake_at = now() + interval '1 hour' WHERE name = 'waiting'")
            try await bench.pool.execute("UPDATE tasks SET status = 'completed' WHERE name = 'done'")
            try await bench.pool.withTransaction {
                try await TaskStore.interruptAll(of: other.user, other.organization, by: "nobody of theirs", $0)
                try await $0.execute("UPDATE users SET status = 'suspended' WHERE username = 'alice'")
                try await TaskStore.interruptAll(of: bench.principal.user, bench.principal.organization, by: "root", $0)
            }
            let events = try await bench.working { try await bench.untilEnd(waiting.id) }
            #expect(events.filter { $0.kind == .interruptRequested }.map(\.payload.by) == ["root"])
            let task = try await bench.service.get(bench.principal, waiting.id)
            #expect(task.status == .paused && task.message?.contains("is suspended") == true)
            let rests = try await bench.service.get(bench.principal, done.id)
            #expect(rests.status == .completed)
            #expect(bench.model.calls.isEmpty)
        }
    }
}
