import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import AgentLoop

@Suite struct TaskStoreTests {
    private static let nothing: [ScriptedModel.Reply] = []

    @Test func `a lease that was lost writes nothing`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let task = try await bench.create()
            let leases = LeaseStore(bench.pool)
            let (one, two) = (UUID(), UUID())
            try await leases.register(worker: one, replica: ReplicaID())
            try await leases.register(worker: two, replica: ReplicaID())
            let first = try #require(try await leases.claim(worker: one, limit: 10).first)
            #expect(try await leases.claim(worker: two, limit: 10).isEmpty)
            try await bench.pool.execute("UPDATE task_workers SET seen_at = seen_at - interval '5 seconds' WHERE id = \(one)")
            let second = try #require(try await leases.claim(worker: two, limit: 10).first)
            #expect(second.fence == first.fence + 1)

            let store = StepStore(bench.pool)
            let step = StepRef(number: 1, attempt: 1, interception: InterceptionID())
            let late = try await store.beginning(of: step, first, model: "m", promptsHash: "h", lastPosition: 0)
            await #expect(throws: LeaseLost(task: task.id)) { try await store.begin(first, late) }
            await #expect(throws: LeaseLost(task: task.id)) {
                _ = try await store.finish(first, .interrupted, interruptedBy: nil, cost: nil)
            }
            await #expect(throws: LeaseLost(task: task.id)) { try await store.release(first) }
            await #expect(throws: LeaseLost(task: task.id)) { _ = try await store.load(first) }
            #expect(try await bench.service.events(bench.principal, task.id, after: 0).isEmpty)
            #expect(try await bench.service.get(bench.principal, task.id).queuedMessages == 1)
            try await store.begin(
                second, try await store.beginning(of: step, second, model: "m", promptsHash: "h", lastPosition: 0))
            #expect(try await bench.service.events(bench.principal, task.id, after: 0).map(\.seq) == [1, 2])
        }
    }

    @Test func `many workers that claim at once share the tasks without overlap`() async throws {
        try await Bench.with(Self.nothing) { bench in
            for number in 0..<20 { _ = try await bench.create(name: "task-\(number)", bundle: Data("x".utf8)) }
            let leases = LeaseStore(bench.pool)
            let claimed = try await withThrowingTaskGroup(of: [Lease].self) { group in
                for _ in 0..<5 {
                    group.addTask {
                        let worker = UUID()
                        try await leases.register(worker: worker, replica: ReplicaID())
                        return try await leases.claim(worker: worker, limit: 7)
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claimed.count == Set(claimed.map(\.task)).count)
            // A row that another one is just looking at is skipped; whoever looks again finds it.
            let worker = UUID()
            try await leases.register(worker: worker, replica: ReplicaID())
            let rest = try await leases.claim(worker: worker, limit: 20)
            #expect(Set((claimed + rest).map(\.task)).count == 20)
        }
    }

    @Test func `a task that waits is claimed when its time has come, not before`() async throws {
        try await Bench.with(Self.nothing) { bench in
            _ = try await bench.create()
            let leases = LeaseStore(bench.pool)
            let worker = UUID()
            try await leases.register(worker: worker, replica: ReplicaID())
            let lease = try #require(try await leases.claim(worker: worker, limit: 1).first)
            try await StepStore(bench.pool).wait(lease, .seconds(60), .model, message: "busy", failures: 1, now: Date())
            #expect(try await leases.claim(worker: worker, limit: 1).isEmpty)
            try await bench.pool.execute("UPDATE tasks SET wake_at = now()")
            #expect(try await leases.claim(worker: worker, limit: 1).count == 1)
        }
    }

    @Test func `others see no task, auditors read all, admins may interrupt`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let task = try await bench.create()
            let stranger = try await Bench.user("mallory", bench.pool)
            let auditor = try await Bench.user("audrey", bench.pool, roles: [.auditor])
            let admin = try await Bench.user("adam", bench.pool, roles: [.admin])
            func code(_ body: () async throws -> Void) async -> AppError.Code? {
                do {
                    try await body()
                    return nil
                } catch { return (error as? AppError)?.code }
            }
            let service = bench.service
            #expect(await code { _ = try await service.get(stranger, task.id) } == .notFound)
            #expect(await code { _ = try await service.find(stranger, "greet") } == .notFound)
            #expect(await code { _ = try await service.events(stranger, task.id, after: 0) } == .notFound)
            #expect(await code { _ = try await service.previews(stranger, task.id) } == .notFound)
            #expect(await code { _ = try await service.diff(stranger, task.id) } == .notFound)
            #expect(await code { try await service.send(stranger, task.id, text: "x") } == .notFound)
            #expect(await code { try await service.interrupt(stranger, task.id) } == .notFound)
            #expect(await code { try await service.delete(stranger, task.id) } == .notFound)
            #expect(try await service.list(stranger, .init(), PageRequest()).items.isEmpty)
            #expect(try await service.get(auditor, task.id).id == task.id)
            #expect(await code { try await service.send(auditor, task.id, text: "x") } == .forbidden)
            #expect(await code { try await service.interrupt(auditor, task.id) } == .forbidden)
            #expect(await code { try await service.resume(admin, task.id) } == .forbidden)
            #expect(await code { try await service.interrupt(admin, task.id) } == nil)
        }
    }

    @Test func `a bundle of somebody else cannot be used`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let stranger = try await Bench.user("mallory", bench.pool)
            let file = try await TaskFiles(bench.pool).save(
                organization: bench.principal.organization, owner: bench.principal.user, contentType: "x", data: Data("x".utf8)
            ).id
            let error = await #expect(throws: AppError.self) {
                try await bench.service.create(stranger, .init(prompt: "p", model: "m", bundle: file))
            }
            #expect(error?.code == .notFound && error?.field == "file_id")
        }
    }

    @Test func `lists come in parts, the newest first`() async throws {
        try await Bench.with(Self.nothing) { bench in
            for number in 0..<5 { _ = try await bench.create(name: "task-\(number)", bundle: Data("x".utf8)) }
            let first = try await bench.service.list(bench.principal, .init(), PageRequest(limit: 2))
            #expect(first.items.map(\.name) == ["task-4", "task-3"])
            let second = try await bench.service.list(bench.principal, .init(), PageRequest(limit: 3, after: first.next))
            #expect(second.items.map(\.name) == ["task-2", "task-1", "task-0"])
            #expect(second.next == nil)
            #expect(try await bench.service.list(bench.principal, .init(statuses: [.failed]), PageRequest()).items.isEmpty)
        }
    }

    @Test func `what is refused names the field`() async throws {
        try await Bench.with(Self.nothing) { bench in
            func field(_ new: TaskService.NewTask) async -> String? {
                do {
                    _ = try await bench.service.create(bench.principal, new)
                    return nil
                } catch { return (error as? AppError)?.field }
            }
            #expect(await field(.init(prompt: " \n", model: "m")) == "prompt")
            #expect(await field(.init(prompt: String(repeating: "x", count: 200_001), model: "m")) == "prompt")
            #expect(await field(.init(prompt: "p", model: "")) == "model")
            #expect(await field(.init(prompt: "p", model: "m", name: "No Good")) == "name")
            #expect(await field(.init(prompt: "p", model: "m", baseBranch: "a b")) == "base_branch")
            #expect(await field(.init(prompt: "p", model: "m", limits: .init(steps: 0))) == "limits.max_steps")
            #expect(await field(.init(prompt: "p", model: "m", limits: .init(cost: .zero))) == "limits.max_cost")
            #expect(await field(.init(prompt: "p", model: "m", name: "twice")) == nil)
            #expect(await field(.init(prompt: "p", model: "m", name: "twice")) == "name")
        }
    }

    @Test func `a reader that waits sees an event as soon as it is committed, and misses none`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let task = try await bench.create()
            let reader = Task {
                var seen: [Int] = []
                while seen.count < 40 {
                    seen += try await bench.service.events(
                        bench.principal, task.id, after: seen.last ?? 0, wait: .seconds(10), limit: 3
                    ).map(\.seq)
                }
                return seen
            }
            for number in 0..<40 { try await bench.service.send(bench.principal, task.id, text: "message \(number)") }
            #expect(try await reader.value == Array(1...40))
        }
    }

    @Test func `texts with control characters come back as they went in`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let task = try await bench.create()
            let text = "tab\t bell\u{7} quote\" back\\slash \u{1F600} \u{2028}"
            try await bench.service.send(bench.principal, task.id, text: text)
            #expect(try await bench.service.events(bench.principal, task.id, after: 0).last?.payload.text == text)
            await #expect(throws: AppError.self) { try await bench.service.send(bench.principal, task.id, text: "nul\u{0}") }
        }
    }

    @Test func `deleting takes events and files along, and a running task is refused`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let task = try await bench.create()
            let error = await #expect(throws: AppError.self) { try await bench.service.delete(bench.principal, task.id) }
            #expect(error?.message == "The task is queued: interrupt it before you delete it.")
            try await bench.pool.execute("UPDATE tasks SET status = 'failed'")
            try await bench.service.delete(bench.principal, task.id)
            let left = try await bench.pool.query("SELECT (SELECT count(*) FROM task_messages) + (SELECT count(*) FROM files) AS n")
            #expect(try left[0]["n", as: Int.self] == 0)
        }
    }

    @Test func `a file is stored whole or not at all`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let files = TaskFiles(bench.pool)
            let data = Data((0..<2_500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let file = try await files.save(
                organization: bench.principal.organization, owner: bench.principal.user, contentType: "x", data: data
            ).id
            #expect(try await files.beginning(of: file, upTo: .max)?.data == data)
            let broken = AsyncThrowingStream<Data, any Error> { continuation in
                continuation.yield(data)
                continuation.finish(throwing: AppError(.unavailable, "cut"))
            }
            await #expect(throws: AppError.self) {
                _ = try await files.save(
                    organization: bench.principal.organization, owner: bench.principal.user, contentType: "x", chunks: broken)
            }
            #expect(try await bench.pool.query("SELECT count(*) AS n FROM files")[0]["n", as: Int.self] == 1)
        }
    }

    @Test func `a file whose writer is cancelled leaves nothing behind`() async throws {
        try await Bench.with(Self.nothing) { bench in
            let (chunks, more) = AsyncThrowingStream<Data, any Error>.makeStream()
            more.yield(Data(count: 1_500_000))
            let saving = Task {
                try await TaskFiles(bench.pool).save(
                    organization: bench.principal.organization, owner: bench.principal.user, contentType: "x", chunks: chunks)
            }
            func count(_ table: String) async throws -> Int {
                try await bench.pool.query("SELECT count(*) AS n FROM \(unsafeSQL: table)")[0]["n"]
            }
            try await eventually("a chunk is there") { try await count("file_chunks") == 1 }
            saving.cancel()
            // The end of the chunks alone would be the end of a whole file.
            more.finish(throwing: CancellationError())
            _ = await saving.result
            #expect(try await count("files") == 0)
            #expect(try await count("file_chunks") == 0)
        }
    }
}
