import Core
import Foundation
import ModelAPI
import Postgres
import TestSupport
import Testing

@testable import AgentLoop

/// The worker dies at each boundary of a step, as by `kill -9`; the next one ends the task with the same tree, and no command ran twice.
@Suite(.serialized) struct CrashTests {
    static let script: [ScriptedModel.Reply] = [
        .answer(
            .calls(
                ("execute", ["command": .string("echo one >> ../log; echo out")]), ("read_file", ["path": .string("greeting.txt")]))
        ),
        // Made twice, it would show.
        .answer(
            .calls(
                ("edit_file", ["path": .string("greeting.txt"), "old_text": .string("hello"), "new_text": .string("hello hello")]))),
        .answer(
            .calls(
                ("write_file", ["path": .string("new.txt"), "content": .string("new\n")]),
                ("execute", ["command": .string("echo two >> ../log; echo appended >> greeting.txt")]))),
        .answer(.text("Change the greeting")),
    ]

    static let cases: [(Lifeline.Point, Int)] = [
        (.beforeSend, 0), (.beforeSend, 2), (.midStream, 0), (.midStream, 3), (.answerRecorded, 0), (.answerRecorded, 2),
        (.answerRecorded, 3),
        (.beforeStart, 0), (.beforeStart, 1), (.afterStart, 0), (.afterStart, 1), (.afterEnd, 0), (.beforeWrite, 0),
        (.beforeWrite, 1),
        (.afterWrite, 0), (.afterWrite, 1), (.beforeSave, 0), (.afterSave, 0),
    ]

    @Test(arguments: cases)
    func `after a kill the next worker ends the task, with each command made once`(point: Lifeline.Point, skip: Int) async throws {
        try await Bench.with(Self.script) { bench in
            let task = try await bench.create()
            let pool = bench.database.pool()
            let line = Lifeline(dieAt: point, skip: skip) { await pool.close(grace: .zero) }
            let dying = try bench.worker(line, pool: pool)
            let running = Task { try await dying.run() }
            await line.untilDead()
            running.cancel()
            #expect(try await bench.service.get(bench.principal, task.id).status == .running)

            // The restarted process of the same replica takes over at once.
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(events.last?.kind == .completed, "\(events.last?.payload.text ?? "")")
            #expect(events.map(\.seq) == Array(1...events.count))
            #expect(bench.sandbox.text("log") == "one\ntwo\n")
            #expect(bench.sandbox.text("sample/greeting.txt") == "hello hello\nworld\nappended\n")
            #expect(bench.sandbox.text("sample/new.txt") == "new\n")
            let repository = bench.sandbox.root.appendingPathComponent("sample")
            #expect(try Bench.git(repository, "status", "--porcelain") == "")
            let record = try await bench.service.get(bench.principal, task.id)
            let base = try #require(record.baseCommit)
            #expect(try Bench.git(repository, "rev-list", "--count", "\(base)..slipway/greet") == "1\n")
            #expect((record.steps, record.changedFiles, record.hasBundle) == (4, 2, true))
            // A recorded answer is not asked for again; every call of a step has exactly one result.
            let asked = bench.model.calls.count
            #expect(asked == (point == .midStream ? 5 : 4), "\(point) asked \(asked) times")
            #expect(events.filter { $0.kind == .toolCall }.count == 5)
            #expect(events.filter { $0.kind == .toolResult }.count == 5)
            #expect(events.filter { $0.kind == .toolResult && $0.payload.isError == true }.isEmpty)
            #expect(record.cost == NanoDollars(4_000_000))
        }
    }

    @Test func `a command whose sandbox is gone has an unknown outcome and is not repeated`() async throws {
        try await Bench.with([
            .answer(.calls(("execute", ["command": .string("echo one >> ../log; sleep 300")]))), .answer(.text("I looked.")),
        ]) { bench in
            let task = try await bench.create()
            let pool = bench.database.pool()
            let line = Lifeline(dieAt: .afterStart) { await pool.close(grace: .zero) }
            let dying = try bench.worker(line, pool: pool)
            let running = Task { try await dying.run() }
            await line.untilDead()
            running.cancel()
            try await TaskRunTests.exists(bench.sandbox, "log")
            bench.sandbox.restart()
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(events.last?.kind == .completed)
            #expect(
                events.first { $0.kind == .toolResult }?.payload.text?.hasPrefix("The outcome of this call is unknown: the sandbox")
                    == true)
            #expect(bench.sandbox.text("log") == "one\n")
        }
    }

    @Test func `another replica takes over within seconds`() async throws {
        try await Bench.with(Self.script) { bench in
            let task = try await bench.create()
            let pool = bench.database.pool()
            let line = Lifeline(dieAt: .beforeSend) { await pool.close(grace: .zero) }
            let dying = try bench.worker(line, pool: pool, replica: ReplicaID())
            let running = Task { try await dying.run() }
            await line.untilDead()
            running.cancel()
            let clock = ContinuousClock()
            let start = clock.now
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(clock.now - start < .seconds(10))
            #expect(bench.sandbox.text("log") == "one\ntwo\n")
        }
    }

    @Test func `a worker that stops hands over a running command, which runs once`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    (
                        "execute",
                        [
                            "command": .string(
                                "echo one >> ../log; while [ ! -e ../go ]; do read -t 0.02 <> <(:) || :; done; echo end")
                        ]
                    ))),
            .answer(.text("Done.")),
        ]) { bench in
            let task = try await bench.create()
            try await bench.working {
                try await bench.until(.toolCall, task.id)
                try await TaskRunTests.exists(bench.sandbox, "log")
            }
            #expect(try await bench.service.get(bench.principal, task.id).status == .queued)
            let events = try await bench.working(try bench.worker(replica: ReplicaID())) {
                try Data().write(to: bench.sandbox.root.appendingPathComponent("go"))
                return try await bench.untilEnd(task.id)
            }
            #expect(events.last?.kind == .completed)
            #expect(events.first { $0.kind == .toolResult }?.payload.text?.hasSuffix("\nend\n") == true)
            #expect(bench.sandbox.text("log") == "one\n")
        }
    }

    @Test func `a worker that waits for an answer before it stops does not look dead to others`() async throws {
        try await Bench.with([.stall]) { bench in
            let task = try await bench.create()
            let worker = try bench.worker { $0.settings.heartbeatInterval = .milliseconds(5) }
            let running = Task { try await worker.run() }
            try await bench.until(.stepStarted, task.id)
            let draining = Task { await worker.drain(grace: .seconds(600)) }
            try await eventually("it drains") { !worker.isWorking }
            let seen = "SELECT seen_at FROM task_workers" as Query
            let before = try await bench.pool.query(seen)[0]["seen_at", as: Date.self]
            try await eventually("it is seen again") {
                try await bench.pool.query(seen).contains { try $0["seen_at", as: Date.self] > before }
            }
            // Whoever waits no longer: it ends at once, and is nobody's worker any more.
            running.cancel()
            draining.cancel()
            await draining.value
            try await running.value
            #expect(try await bench.pool.query(seen).isEmpty)
            #expect(try await bench.service.get(bench.principal, task.id).status == .queued)
        }
    }

    @Test func `an idle worker stops in under 100 ms`() async throws {
        try await Bench.with([]) { bench in
            let worker = try bench.worker()
            let running = Task { try await worker.run() }
            let clock = ContinuousClock()
            // Once it has looked for tasks it is idle.
            let task = try await bench.create(bundle: Data("x".utf8))
            _ = try await bench.untilEnd(task.id)
            let start = clock.now
            await worker.drain(grace: .seconds(20))
            try await running.value
            #expect(clock.now - start < .milliseconds(100))
        }
    }

    @Test func `an interrupt that came while nobody worked is concluded by the next worker`() async throws {
        try await Bench.with(Self.script) { bench in
            let task = try await bench.create()
            try await bench.service.interrupt(bench.principal, task.id)
            let events = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(events.map(\.kind) == [.interruptRequested, .interrupted])
            #expect(bench.model.calls.isEmpty)
        }
    }

    @Test func `a workspace that cannot be opened is waited for, with the reason`() async throws {
        try await Bench.with(Self.script) { bench in
            let task = try await bench.create()
            let worker = try bench.worker { $0.workspaces = Unavailable() }
            try await bench.working(worker) {
                let events = try await bench.until(.waiting, task.id)
                #expect(events.last?.payload.text == "The host has less than 1 GiB free.")
            }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .waiting && record.reason == "workspace")
        }
    }

    struct Unavailable: WorkspaceProvider {
        func open(task: TaskID, name: String, principal: Principal, known: WorkspaceID?) async throws -> OpenWorkspace {
            throw AppError(.unavailable, "The host has less than 1 GiB free.", retry: .after(.seconds(60)))
        }
    }
}
