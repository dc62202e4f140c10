import Core
import Foundation
import Logging
import ModelAPI
import Postgres
import TestSupport

@testable import AgentLoop

/// A database, a user, a sandbox and a model: what a task needs, around real workers.
final class Bench: Sendable {
    let database: TestDatabase
    let pool: PostgresPool
    let sandbox: LocalSandbox
    let model: ScriptedModel
    let principal: Principal
    let service: TaskService
    let bus: TaskBus
    let replica = ReplicaID()

    private init(database: TestDatabase, model: ScriptedModel) async throws {
        self.database = database
        self.model = model
        pool = database.pool()
        sandbox = try LocalSandbox()
        bus = TaskBus(pool: pool, listener: nil, logger: .silent)
        service = TaskService(store: TaskStore(pool), files: TaskFiles(pool), bus: bus, previews: PreviewHub())
        principal = try await Self.user("alice", pool)
    }

    static func with<Value: Sendable>(_ replies: [ScriptedModel.Reply], _ body: (Bench) async throws -> Value) async throws -> Value
    {
        try await with(ScriptedModel(replies), body)
    }

    static func with<Value: Sendable>(_ model: ScriptedModel, _ body: (Bench) async throws -> Value) async throws -> Value {
        try await TestDatabase.with { database in
            let bench = try await Bench(database: database, model: model)
            defer { bench.sandbox.remove() }
            do {
                let value = try await body(bench)
                await bench.pool.close(grace: .zero)
                return value
            } catch {
                await bench.pool.close(grace: .zero)
                throw error
            }
        }
    }

    static func user(_ name: String, _ pool: PostgresPool, roles: [Role] = [.member]) async throws -> Principal {
        let organization = OrganizationID("00000000-0000-7000-8000-000000000001")!
        let user = UserID()
        try await pool.execute(
            """
            INSERT INTO users (id, organization_id, username, email, roles)
            VALUES (\(user), \(organization), \(name), \("\(name)@example.com"), \(roles.map(\.rawValue)))
            """)
        return Principal(organization: organization, user: user, username: name, roles: Set(roles))
    }

    // MARK: Repositories

    /// A repository with two files on `main`, as a bundle.
    func repository(files: [String: String] = ["greeting.txt": "hello\nworld\n", "README.md": "# Sample\n"]) throws -> Data {
        let folder = sandbox.root.deletingLastPathComponent().appendingPathComponent("slipway-source-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Self.git(folder, "init", "--quiet", "--initial-branch=main")
        for (name, text) in files { try Data(text.utf8).write(to: folder.appendingPathComponent(name)) }
        try Self.git(folder, "add", "--all")
        try Self.git(folder, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "-m", "Begin")
        try Self.git(folder, "branch", "release")
        try Self.git(folder, "bundle", "create", "--quiet", "all.bundle", "--all")
        return try Data(contentsOf: folder.appendingPathComponent("all.bundle"))
    }

    @discardableResult
    static func git(_ folder: URL, _ arguments: String...) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/git")
        process.arguments = ["-C", folder.path] + arguments
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let text = String(decoding: output, as: UTF8.self)
        guard process.terminationStatus == 0 else { throw AppError(.internal, "git \(arguments.joined(separator: " ")): \(text)") }
        return text
    }

    func create(
        _ prompt: String = "Change the greeting", name: String? = "greet", bundle: Data? = nil, baseBranch: String? = nil,
        limits: TaskLimits = .init()
    ) async throws -> TaskRecord {
        let file = try await TaskFiles(pool).save(
            organization: principal.organization, owner: principal.user, contentType: "application/x-git-bundle",
            data: try bundle ?? repository()
        ).id
        return try await service.create(
            principal,
            .init(
                prompt: prompt, model: "scripted", name: name, repository: "sample", bundle: file, baseBranch: baseBranch,
                limits: limits))
    }

    // MARK: Workers

    /// A worker with its own way to everything, so that it can die alone.
    func worker(
        _ line: Lifeline? = nil, pool: PostgresPool? = nil, replica: ReplicaID? = nil,
        change: (inout LoopEnvironment) -> Void = { _ in }
    ) throws -> TaskWorker {
        let line = line ?? Lifeline()
        let pool = pool ?? self.pool
        var environment = LoopEnvironment(
            store: StepStore(pool), files: TaskFiles(pool), model: LineModel(model: model, line: line),
            workspaces: LineWorkspaces(sandbox: sandbox, line: line), prompts: try PromptSet(), bus: bus, previews: PreviewHub(),
            logger: .silent)
        change(&environment)
        return TaskWorker(replica: replica ?? self.replica, leases: LeaseStore(pool), environment: environment)
    }

    /// Runs a worker while the body runs, and drains it afterwards.
    func working<Value: Sendable>(_ worker: TaskWorker? = nil, _ body: () async throws -> Value) async throws -> Value {
        let worker = try worker ?? self.worker()
        let running = Task { try await worker.run() }
        do {
            let value = try await body()
            await worker.drain(grace: .seconds(5))
            try await running.value
            return value
        } catch {
            await worker.drain(grace: .zero)
            running.cancel()
            throw error
        }
    }

    /// Waits for an event of a kind; fails loudly, with the history, when it does not come in time.
    @discardableResult
    func until(_ kind: TaskEvent.Kind, _ task: TaskID, after: Int = 0, within: Duration = .seconds(30)) async throws -> [TaskEvent]
    {
        try await until(task, within: within, what: kind.rawValue) { $0.contains { $0.kind == kind && $0.seq > after } }
    }

    @discardableResult
    func until(
        _ task: TaskID, within: Duration = .seconds(30), what: String, _ isReached: ([TaskEvent]) -> Bool
    ) async throws -> [TaskEvent] {
        let clock = ContinuousClock()
        let end = clock.now + within
        var events: [TaskEvent] = []
        while true {
            events += try await service.events(
                principal, task, after: events.last?.seq ?? 0, wait: max(.zero, min(end - clock.now, .seconds(1))))
            if isReached(events) { return events }
            guard clock.now < end else {
                let history = events.map {
                    "\($0.seq) \($0.kind.rawValue) \($0.payload.reason ?? "") \($0.payload.text?.prefix(300) ?? "")"
                }
                throw AppError(.timeout, "There was no \(what) in time:\n\(history.joined(separator: "\n"))")
            }
        }
    }

    /// Waits for any end of the turn.
    func untilEnd(_ task: TaskID, after: Int = 0) async throws -> [TaskEvent] {
        try await until(task, what: "end") { events in
            events.contains { $0.seq > after && [.completed, .paused, .failed, .interrupted].contains($0.kind) }
        }
    }
}
