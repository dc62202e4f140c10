import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// A server with sandboxes and the scripted model, somebody who delegates to it, and a repository.
struct Delegation: Sendable {
    static let libexec =
        ProcessInfo.processInfo.environment["SLIPWAY_LIBEXEC"] ?? FileManager.default.currentDirectoryPath + "/dist/libexec"
    static var isBuilt: Bool { FileManager.default.isExecutableFile(atPath: libexec + "/sandbox/agent") }

    struct Late: Error, CustomStringConvertible { var description: String }

    /// What "demo: slow steps" writes when each of its commands runs once.
    static let slowSteps = ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]

    /// Of the database.
    let url: String
    let directory: String
    let token: String

    init(_ database: TestDatabase) async throws {
        let pool = database.pool()
        try await self.init(url: database.url, pool)
        await pool.close()
    }

    /// - Parameter pool: of a database with the schema.
    init(url: String, _ pool: PostgresPool) async throws {
        self.url = url
        directory = try ServerProcess.temporaryDirectory()
        token = try await People.token(pool, "ada", roles: [.owner])
    }

    /// - Parameter under: a program that ends up executing the server, with its arguments.
    func start(
        _ arguments: [String] = [], environment: [String: String] = [:], under wrapper: [String] = []
    ) async throws -> ServerProcess {
        try await ServerProcess.start(
            database: url, directory: directory, arguments: ["--demo-model"] + arguments,
            environment: ["SLIPWAY_LIBEXEC": Self.libexec].merging(environment) { $1 }, under: wrapper)
    }

    func task(_ task: AgentTask, on server: ServerProcess) async throws -> AgentTask {
        try await client(server).get("\(APIPaths.tasks)/\(task.id)").json(AgentTask.self)
    }

    func client(_ server: ServerProcess) -> Client { Client(server, token: token) }

    func delegate(_ prompt: String, to server: ServerProcess, model: String = "demo/demo-scripted") async throws -> AgentTask {
        let file = try await client(server).send("POST", APIPaths.files, try bundle()).json(UploadedFile.self)
        return try await client(server).post(
            APIPaths.tasks, CreateTaskRequest(prompt: prompt, model: model, fileID: file.id, repositoryName: "sample")
        ).json(AgentTask.self)
    }

    /// A repository with one commit, made once.
    private func bundle() throws -> Data {
        if let made = FileManager.default.contents(atPath: directory + "/bundle") { return made }
        let repository = directory + "/repository"
        try run("git", "init", "-q", "-b", "main", repository)
        try Data("a sample\n".utf8).write(to: URL(fileURLWithPath: repository + "/README"))
        try run("git", "-C", repository, "add", "-A")
        try run("git", "-C", repository, "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-qm", "one")
        try run("git", "-C", repository, "bundle", "create", "-q", directory + "/bundle", "HEAD", "main")
        return try Data(contentsOf: URL(fileURLWithPath: directory + "/bundle"))
    }

    private func run(_ words: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Late(description: words.joined(separator: " ")) }
    }

    /// Follows the task until `condition` holds for all its events so far.
    @discardableResult
    func follow(
        _ task: AgentTask, on server: ServerProcess, within patience: Duration = .seconds(60),
        until condition: ([TaskEvent], AgentTask) -> Bool
    ) async throws -> [TaskEvent] {
        let giveUp = ContinuousClock.now + patience
        var events: [TaskEvent] = []
        while ContinuousClock.now < giveUp {
            let list = try await client(server).get("\(APIPaths.tasks)/\(task.id)/events?after=\(events.count)&wait=5").json(
                TaskEventList.self)
            events += list.events
            if condition(events, list.task) { return events }
            // At rest nothing more comes.
            if !["queued", "running", "waiting"].contains(list.task.status), list.events.isEmpty { break }
        }
        throw Late(description: "\(events.map(\.kind)) of \(task.name)\n\(server.logText.suffix(4000))")
    }

    /// Waits until the task is at rest; it must have completed, with these lines added to its file.
    func expectCompleted(
        _ task: AgentTask, on server: ServerProcess, lines: [String], _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let events = try await follow(task, on: server) { _, task in !["queued", "running", "waiting"].contains(task.status) }
        let last = try await client(server).get("\(APIPaths.tasks)/\(task.id)").json(AgentTask.self)
        #expect(
            last.status == "completed", "\(last.status) \(last.message ?? "") \(events.map(\.kind))", sourceLocation: location)
        #expect(events.map(\.sequence) == (1...Int64(events.count)).map { $0 }, sourceLocation: location)
        let diff = try await client(server).get("\(APIPaths.tasks)/\(task.id)/diff").text
        let added = diff.split(separator: "\n").filter { $0.hasPrefix("+") && !$0.hasPrefix("+++") }.map { String($0.dropFirst()) }
        #expect(added == lines, "\(diff)", sourceLocation: location)
    }

    /// Its sandbox would outlive the server.
    func removeWorkspace(of task: AgentTask, on server: ServerProcess) async throws {
        guard let workspace = try await self.task(task, on: server).workspaceID else { return }
        _ = try await client(server).send("DELETE", "\(APIPaths.workspaces)/\(workspace)")
        try await eventually("the workspace is gone") {
            try await client(server).get("\(APIPaths.workspaces)/\(workspace)").status != 200
        }
    }

    /// Removes the task's workspace and ends the server.
    func cleanUp(_ task: AgentTask, _ server: ServerProcess) async throws {
        try await removeWorkspace(of: task, on: server)
        await server.stop()
    }
}
