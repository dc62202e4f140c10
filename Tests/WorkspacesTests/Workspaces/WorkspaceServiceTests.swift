import Core
import Foundation
import Logging
import Postgres
@testable import Provisioning
import Testing
import TestSupport

@testable import Workspaces

/// Rows, queue and rules on a real database; sandboxes are scripted.
@Suite(.timeLimit(.minutes(2))) struct WorkspaceServiceTests {
    struct Bench: Sendable {
        let pool: PostgresPool
        let principal: Principal
        let provisioner: ScriptedProvisioner
        let stack: WorkspaceStack
        var service: WorkspaceService { stack.service }

        static func stack(_ pool: PostgresPool, _ provisioner: any Provisioner, host: String = "here", free: UInt64 = 1 << 40)
            -> WorkspaceStack
        {
            WorkspaceStack(
                pool: pool, host: host, replica: ReplicaID(), provisioner: provisioner, socketPath: "/nonexistent/x.sock",
                space: DiskSpace(path: "/data") { _ in free }, notifications: nil, logger: .silent)
        }

        /// Waits for what other tasks bring about.
        func until(_ id: WorkspaceID, _ status: WorkspaceStatus) async throws -> Workspace {
            var workspace: Workspace?
            try await eventually("the workspace is \(status.rawValue)") {
                workspace = try await service.settled(principal, id, within: .seconds(60))
                return workspace?.status == status
            }
            return try #require(workspace)
        }
    }

    private func user(_ pool: PostgresPool, _ name: String) async throws -> Principal {
        let organization = OrganizationID("00000000-0000-7000-8000-000000000001")!
        let id = UserID()
        try await pool.execute(
            "INSERT INTO users (id, organization_id, username, roles) VALUES (\(id), \(organization), \(name), ARRAY['member'])")
        return Principal(organization: organization, user: id, username: name, roles: [.member])
    }

    private func withBench(running: Bool = true, _ body: (Bench) async throws -> Void) async throws {
        try await withDatabase { pool in
            let provisioner = ScriptedProvisioner()
            let bench = Bench(
                pool: pool, principal: try await user(pool, "ada"), provisioner: provisioner, stack: Bench.stack(pool, provisioner))
            guard running else { return try await body(bench) }
            let work = Task { await bench.stack.run() }
            do {
                try await body(bench)
            } catch {
                provisioner.release()
                work.cancel()
                await work.value
                throw error
            }
            provisioner.release()
            work.cancel()
            await work.value
        }
    }

    @Test func `a workspace is made, stopped, started and deleted`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            #expect(made.status == .pending || made.status == .starting || made.status == .running)
            #expect(made.place == 1)
            let id = made.id
            let running = try await bench.until(id, .running)
            #expect(running.agent == .connecting)
            #expect(running.sandbox?.workspace == id)
            #expect(try await bench.service.stop(bench.principal, id).status != .running)
            _ = try await bench.until(id, .stopped)
            #expect(bench.provisioner.state.withLockedValue { $0.living.isEmpty && $0.files == [id] })
            _ = try await bench.service.start(bench.principal, id)
            _ = try await bench.until(id, .running)
            _ = try await bench.service.delete(bench.principal, id)
            _ = try await bench.until(id, .deleted)
            #expect(bench.provisioner.state.withLockedValue { $0.living.isEmpty && $0.files.isEmpty })
            let error = await #expect(throws: AppError.self) { try await bench.service.get(bench.principal, id) }
            #expect(error?.code == .notFound)
            #expect(try await bench.service.list(bench.principal, PageRequest()).items.isEmpty)
            #expect(try await bench.service.create(bench.principal, name: "one").place == 1)
        }
    }

    @Test func `names and places are unique, also when many are made at once`() async throws {
        try await withBench(running: false) { bench in
            let made = try await withThrowingTaskGroup(of: Workspace.self) { group in
                for number in 0..<20 { group.addTask { try await bench.service.create(bench.principal, name: "w\(number)") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(made.compactMap(\.place)) == Set(1...20))
            let error = await #expect(throws: AppError.self) { try await bench.service.create(bench.principal, name: "W3") }
            #expect(error?.code == .conflict)
            #expect(error?.field == "name")
            let other = try await user(bench.pool, "bob")
            #expect(try await bench.service.create(other, name: "w3").place == 21)
        }
    }

    @Test func `others' workspaces are out of reach unless the permission says everyone's`() async throws {
        try await withBench(running: false) { bench in
            let made = try await bench.service.create(bench.principal, name: "mine")
            let other = try await user(bench.pool, "bob")
            for call in [
                { try await bench.service.get(other, made.id) }, { try await bench.service.get(other, reference: "mine") },
                { try await bench.service.stop(other, made.id) }, { try await bench.service.delete(other, made.id) },
            ] as [() async throws -> Workspace] {
                let error = await #expect(throws: AppError.self) { _ = try await call() }
                #expect(error?.code == .notFound)
            }
            #expect(try await bench.service.list(other, PageRequest()).items.isEmpty)
            #expect(try await bench.service.get(other, everyones: true, reference: "mine").id == made.id)
            #expect(try await bench.service.list(other, everyones: true, PageRequest()).items.map(\.id) == [made.id])
        }
    }

    @Test func `a list has a cursor and names a bad one`() async throws {
        try await withBench(running: false) { bench in
            for number in 0..<5 { _ = try await bench.service.create(bench.principal, name: "w\(number)") }
            var names: [String] = []
            var after: String?
            repeat {
                let page = try await bench.service.list(bench.principal, PageRequest(limit: 2, after: after))
                names += page.items.map(\.name)
                after = page.next
            } while after != nil
            #expect(Set(names).count == 5 && names.count == 5)
            let error = await #expect(throws: AppError.self) {
                try await bench.service.list(bench.principal, PageRequest(after: "x"))
            }
            #expect(error?.field == "after")
        }
    }

    @Test func `a start that fails says why and may be tried again`() async throws {
        try await withBench { bench in
            bench.provisioner.state.withLockedValue { $0.startError = AppError(.unavailable, "No bubblewrap here.") }
            let made = try await bench.service.create(bench.principal, name: "one")
            #expect(try await bench.until(made.id, .failed).reason == "No bubblewrap here.")
            let error = await #expect(throws: AppError.self) {
                try await bench.service.waitReady(bench.principal, made.id, within: .seconds(20))
            }
            #expect(error?.message == "Workspace 'one' is failed: No bubblewrap here. See: slipway workspace logs one")
            bench.provisioner.state.withLockedValue { $0.startError = nil }
            _ = try await bench.service.start(bench.principal, made.id)
            _ = try await bench.until(made.id, .running)
        }
    }

    @Test func `a build is claimed once, however many workers look`() async throws {
        try await withBench(running: false) { bench in
            let stacks = (0..<3).map { _ in Bench.stack(bench.pool, bench.provisioner) }
            for number in 0..<12 { _ = try await bench.service.create(bench.principal, name: "w\(number)") }
            let works = stacks.map { stack in Task { try await stack.worker.run() } }
            for workspace in try await bench.service.list(bench.principal, PageRequest()).items {
                _ = try await bench.until(workspace.id, .running)
            }
            for work in works { work.cancel() }
            for work in works { try await work.value }
            let starts = bench.provisioner.state.withLockedValue { $0.log.filter { $0.hasPrefix("start") } }
            #expect(Set(starts).count == 12 && starts.count == 12)
            let attempts = try await bench.pool.query("SELECT max(attempts) AS n FROM provisioner_jobs")[0]["n", as: Int.self]
            #expect(attempts == 1)
        }
    }

    @Test func `a job goes to the machine that it is for`() async throws {
        try await withBench(running: false) { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            let elsewhere = JobQueue(pool: bench.pool, worker: ReplicaID(), tags: ["host=there", "gpu"])
            #expect(try await elsewhere.claim() == nil)
            let here = JobQueue(pool: bench.pool, worker: ReplicaID(), tags: ["gpu", "host=here"])
            #expect(try await here.claim()?.workspace == made.id)
            #expect(try await here.claim() == nil)
        }
    }

    @Test func `a job of a worker that fell silent is done again, and the silent one cannot end it`() async throws {
        try await withBench(running: false) { bench in
            _ = try await bench.service.create(bench.principal, name: "one")
            let dead = JobQueue(pool: bench.pool, worker: ReplicaID(), tags: ["host=here"])
            let alive = JobQueue(pool: bench.pool, worker: ReplicaID(), tags: ["host=here"])
            let first = try #require(await dead.claim())
            #expect(try await alive.claim() == nil)
            try await bench.pool.execute("UPDATE provisioner_jobs SET updated_at = now() - interval '6 s'")
            let second = try #require(await alive.claim())
            #expect(second.id == first.id && second.attempt == 2)
            #expect(try await dead.touch(first) == false)
            try await dead.complete(first, .failed(.start, message: "late"))
            #expect(try await bench.service.get(bench.principal, first.workspace).status == .starting)
            #expect(try await alive.touch(second))
            try await alive.giveBack(second)
            #expect(try await dead.claim()?.attempt == 3)
        }
    }

    @Test func `a sandbox that a dead worker had started is replaced, not doubled`() async throws {
        try await withBench(running: false) { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            let dead = JobQueue(pool: bench.pool, worker: ReplicaID(), tags: ["host=here"])
            let job = try #require(await dead.claim())
            _ = try await bench.provisioner.start(SandboxSpec(workspace: made.id, number: job.place, token: job.token.text))
            try await dead.giveBack(job)
            let work = Task { try await bench.stack.worker.run() }
            let running = try await bench.until(made.id, .running)
            work.cancel()
            try await work.value
            #expect(running.sandbox == bench.provisioner.state.withLockedValue { $0.living[made.id] })
            #expect(bench.provisioner.state.withLockedValue { $0.log } == ["start 1", "stop 1", "start 1"])
            #expect(await bench.service.authenticate(job.token.text) == nil)
        }
    }

    @Test func `two who start at once make one build`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            _ = try await bench.service.stop(bench.principal, made.id)
            _ = try await bench.until(made.id, .stopped)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 { group.addTask { _ = try await bench.service.start(bench.principal, made.id) } }
                try await group.waitForAll()
            }
            #expect(try await bench.until(made.id, .running).lifecycle.build.number == 3)
        }
    }

    @Test func `a stop asked for during the start comes after it`() async throws {
        try await withBench { bench in
            bench.provisioner.hold()
            let made = try await bench.service.create(bench.principal, name: "one")
            async let stopped = bench.service.stop(bench.principal, made.id)
            while try await bench.service.get(bench.principal, made.id).status != .starting {}
            bench.provisioner.release()
            _ = try await stopped
            #expect(try await bench.until(made.id, .stopped).reason == nil)
            #expect(bench.provisioner.state.withLockedValue { $0.log.filter { $0 != "adopt 1" } } == ["start 1", "stop 1"])
        }
    }

    @Test func `a token is good for one sandbox's life and is stored nowhere`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            let token = try #require(bench.provisioner.state.withLockedValue { $0.tokens[made.id] })
            #expect(token.reveal().utf8.count >= 64)
            #expect(await bench.service.authenticate(token) == made.id)
            #expect(await bench.service.authenticate(Secret(token.reveal() + "0")) == nil)
            #expect(await bench.service.authenticate(Secret("")) == nil)
            let rows = try await bench.pool.query(
                "SELECT count(*) AS n FROM workspace_agents a WHERE a::text LIKE \("%" + token.reveal().suffix(64) + "%")")
            #expect(try rows[0]["n", as: Int.self] == 0)
            _ = try await bench.service.stop(bench.principal, made.id)
            _ = try await bench.until(made.id, .stopped)
            #expect(await bench.service.authenticate(token) == nil)
            _ = try await bench.service.start(bench.principal, made.id)
            _ = try await bench.until(made.id, .running)
            #expect(await bench.service.authenticate(token) == nil)
        }
    }

    @Test func `a sandbox that dies is shown with the reason`() async throws {
        try await withBench { bench in
            for (name, cause, status) in [
                ("a", SandboxDeath.Cause.ended, WorkspaceStatus.failed), ("b", .memory, .stopped), ("c", .disk, .stopped),
            ] {
                let made = try await bench.service.create(bench.principal, name: name)
                _ = try await bench.until(made.id, .running)
                bench.provisioner.end(made.id, cause, "reason \(name)")
                #expect(try await bench.until(made.id, status).reason == "reason \(name)")
                _ = try await bench.service.start(bench.principal, made.id)
                #expect(try await bench.until(made.id, .running).reason == nil)
            }
        }
    }

    @Test func `a server that starts adopts what lives and says what ended meanwhile`() async throws {
        try await withBench { bench in
            let lives = try await bench.service.create(bench.principal, name: "lives")
            let ended = try await bench.service.create(bench.principal, name: "ended")
            _ = try await bench.until(lives.id, .running)
            _ = try await bench.until(ended.id, .running)
            bench.provisioner.dieSilently(ended.id)
            await Bench.stack(bench.pool, bench.provisioner).reconciler.reconcile()
            #expect(try await bench.service.get(bench.principal, lives.id).status == .running)
            let found = try await bench.service.get(bench.principal, ended.id)
            #expect(found.status == .stopped)
            #expect(found.reason == "The machine was restarted. Start the workspace again; its files are there.")
        }
    }

    @Test func `a sandbox is adopted once, and found missing later`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            let reconciler = Bench.stack(bench.pool, bench.provisioner).reconciler
            for _ in 0..<3 { await reconciler.reconcile(looksForStrays: false) }
            #expect(try await bench.service.get(bench.principal, made.id).status == .running)
            #expect(
                bench.provisioner.state.withLockedValue { $0.log.filter { $0 == "adopt 1" }.count } <= 2,
                "once here, once by the bench's own")
            bench.provisioner.dieSilently(made.id)
            await reconciler.reconcile(looksForStrays: false)
            #expect(try await bench.service.get(bench.principal, made.id).status == .stopped)
        }
    }

    @Test func `a sandbox that nobody should have is stopped`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            _ = try await bench.service.stop(bench.principal, made.id)
            _ = try await bench.until(made.id, .stopped)
            _ = try await bench.provisioner.start(SandboxSpec(workspace: made.id, number: 1, token: Secret("stray")))
            await bench.stack.reconciler.reconcile()
            #expect(bench.provisioner.state.withLockedValue { $0.living.isEmpty })
        }
    }

    @Test func `a workspace of a machine that is away is unreachable, never gone`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            let elsewhere = Bench.stack(bench.pool, ScriptedProvisioner(), host: "there").service
            let away = try await elsewhere.get(bench.principal, made.id)
            #expect(away.status == .unreachable)
            #expect(away.reason?.isEmpty == false)
            let error = await #expect(throws: AppError.self) {
                try await elsewhere.waitReady(bench.principal, made.id, within: .seconds(20))
            }
            #expect(error?.code == .unavailable)
            try await bench.pool.execute(
                "INSERT INTO replicas (id, internal_url, host, epoch, version) VALUES (\(UUID()), 'http://x', 'here', 1, 'x')")
            #expect(try await elsewhere.get(bench.principal, made.id).status == .running)
            // A delete that another machine's server takes goes to this one.
            _ = try await elsewhere.delete(bench.principal, made.id)
            _ = try await bench.until(made.id, .deleted)
        }
    }

    @Test func `new work is refused with the numbers when the disk is nearly full`() async throws {
        try await withBench { bench in
            let made = try await bench.service.create(bench.principal, name: "one")
            _ = try await bench.until(made.id, .running)
            _ = try await bench.service.stop(bench.principal, made.id)
            _ = try await bench.until(made.id, .stopped)
            let full = Bench.stack(bench.pool, bench.provisioner, free: 1023 << 20).service
            for call in [
                { try await full.create(bench.principal, name: "two") }, { try await full.start(bench.principal, made.id) },
            ]
                as [() async throws -> Workspace]
            {
                let error = await #expect(throws: AppError.self) { _ = try await call() }
                #expect(error?.code == .unavailable)
                #expect(error?.message.contains("only 1023 MiB are free in /data, 1024 MiB must be") == true)
            }
            _ = try await full.delete(bench.principal, made.id)
            _ = try await bench.until(made.id, .deleted)
        }
    }

    @Test func `a worker that is told to end finishes the build it is at`() async throws {
        try await withBench(running: false) { bench in
            bench.provisioner.hold()
            let made = try await bench.service.create(bench.principal, name: "one")
            let work = Task { try await bench.stack.worker.run() }
            try await eventually("the build waits at the gate") {
                bench.provisioner.state.withLockedValue { $0.gate?.isEmpty == false }
            }
            work.cancel()
            bench.provisioner.release()
            try await work.value
            #expect(try await bench.service.get(bench.principal, made.id).status == .running)
        }
    }
}
