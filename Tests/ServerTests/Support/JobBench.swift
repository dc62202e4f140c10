import API
import Core
import Foundation
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

/// A real server with the sandbox and the scripted model, a repository, and the client program: all that the main job needs.
final class JobBench: Sendable {
    let directory: String
    let database: String
    let repository: String
    private let config: String
    private let arguments: [String]
    private let servers = NIOLockedValueBox<[ServerProcess]>([])

    /// Where `make tools agent` put what the sandbox needs.
    static let libexec: String = {
        if let named = ProcessInfo.processInfo.environment["SLIPWAY_LIBEXEC"] { return named }
        return FileManager.default.currentDirectoryPath + "/dist/libexec"
    }()

    static func with(arguments: [String] = [], _ work: (JobBench) async throws -> Void) async throws {
        try await TestDatabase.with(migrated: false) { database in
            let bench = try JobBench(database: database.url, arguments: arguments)
            do {
                try await work(bench)
            } catch {
                await bench.end()
                throw error
            }
            await bench.end()
        }
    }

    private init(database: String, arguments: [String]) throws {
        self.database = database
        self.arguments = arguments
        directory = try ServerProcess.temporaryDirectory()
        config = directory + "-config"
        repository = directory + "-repository"
        let sample = Self.root.appending(path: "config/demo/sample-repo")
        try FileManager.default.copyItem(at: sample, to: URL(fileURLWithPath: repository))
        try shell(
            "git init -q -b main && git add -A && git -c user.name=T -c user.email=t@example.com commit -qm start", in: repository)
    }

    /// The repository's own folder, found from this file.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// Also of what a test left behind that broke off.
    private func end() async {
        for server in servers.withLockedValue({ $0 }) { await server.stop() }
        for path in [directory, config, repository] { try? FileManager.default.removeItem(atPath: path) }
    }

    func start() async throws -> ServerProcess {
        let server = try await ServerProcess.start(
            database: database, directory: directory, arguments: ["--demo-model", "--default-model", "demo-scripted"] + arguments,
            environment: ["SLIPWAY_LIBEXEC": Self.libexec])
        servers.withLockedValue { $0.append(server) }
        return server
    }

    struct Outcome: Sendable {
        var status: Int32
        var output: String
        var errors: String
        /// The most memory it was seen to have.
        var peakKiB: Int
    }

    /// The client program, as a user runs it.
    func slipway(_ words: [String], input: String = "", server: ServerProcess) throws -> Outcome {
        var environment = ["SLIPWAY_CONFIG_DIR": config, "SLIPWAY_URL": server.url, "NO_COLOR": "1"]
        // A server that was started again has another port: the token goes along.
        if let token { environment["SLIPWAY_TOKEN"] = token }
        return try Self.run(
            ServerProcess.binary.deletingLastPathComponent().appending(path: "slipway").path, words, in: repository,
            environment: environment, input: input)
    }

    /// The client program, for a command that follows something.
    func begin(_ words: [String], server: ServerProcess) throws -> RunningClient {
        try RunningClient(words, url: server.url, token: try #require(token))
    }

    private var token: String? {
        guard let stored = FileManager.default.contents(atPath: config + "/login.json") else { return nil }
        return (try? JSONDecoder().decode([String: String].self, from: stored))?["token"]
    }

    func signIn(_ server: ServerProcess) async throws {
        try await server.waitForLine(containing: "set-up code")
        let code = try #require(server.setupCode)
        let outcome = try slipway(
            [
                "login", server.url, "--first-user", "--setup-code", code, "--username", "dev", "--email", "dev@example.com",
                "--password-stdin",
            ], input: "a long enough password 1\n", server: server)
        try #require(outcome.status == 0, "\(outcome.errors)")
    }

    func client(_ server: ServerProcess) -> Client { Client(server, token: token) }

    func createTask(_ prompt: String, _ server: ServerProcess, _ more: [String] = []) throws -> String {
        let outcome = try slipway(
            ["task", "create", "--repo", repository, "--prompt", prompt, "--output", "json"] + more, server: server)
        try #require(outcome.status == 0, "\(outcome.errors)\n\(server.logText)")
        return try APICoding.decoder().decode(AgentTask.self, from: Data(outcome.output.utf8)).id
    }

    /// Follows by cursor until `until` holds, and says what was seen.
    func follow(
        _ task: String, _ client: Client, within seconds: Int = 90, until: (AgentTask, [TaskEvent]) -> Bool
    ) async throws -> (task: AgentTask, events: [TaskEvent]) {
        var events: [TaskEvent] = []
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            let answer = try await client.get("\(APIPaths.tasks)/\(task)/events?after=\(events.last?.sequence ?? 0)&wait=5")
            try #require(answer.status == 200, "\(answer.text)")
            let part = try answer.json(TaskEventList.self)
            events += part.events
            if until(part.task, events) { return (part.task, events) }
        }
        Issue.record("the task did not get there: \(events.map { "\($0.kind) \($0.text ?? "")" }.joined(separator: "\n"))")
        throw CancellationError()
    }

    /// Returns when the model's answer has begun to come.
    func untilPreview(_ task: String, _ client: Client) async throws {
        let answer = try await Client.transport.send(
            HTTPClientRequest(
                url: "\(client.url)\(APIPaths.tasks)/\(task)/stream", headers: client.headers, timeouts: .init(total: .seconds(60)),
                allowPrivateAddresses: true))
        var seen = ""
        for try await chunk in answer.body {
            seen += String(buffer: chunk)
            if seen.contains("event: delta") { return }
        }
        Issue.record("the answer never began: \(answer.status) \(seen)")
    }

    /// What the ledger has for the task's calls.
    func booked(_ task: String) async throws -> Int64 {
        let pool = PostgresPool(configuration: PostgresConfiguration(url: Secret(database), maxConnections: 2), logger: .silent)
        let rows = try await pool.query(
            """
            SELECT coalesce(sum(l.cost), 0)::bigint AS cost FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id
            WHERE i.task_id::text = \(task)
            """)
        await pool.close()
        return try rows[0]["cost"]
    }

    static func isAtRest(_ task: AgentTask) -> Bool { ["paused", "interrupted", "completed", "failed"].contains(task.status) }

    @discardableResult
    func shell(_ line: String, in folder: String) throws -> String {
        let outcome = try Self.run("/bin/bash", ["-c", line], in: folder, environment: [:], input: "")
        try #require(outcome.status == 0, "\(line): \(outcome.errors)")
        return outcome.output
    }

    private static func run(
        _ program: String, _ words: [String], in folder: String, environment: [String: String], input: String
    ) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = words
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.environment = ["PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"].merging(environment) { $1 }
        // Files, not pipes: nothing can fill up while this waits.
        let base = "/tmp/slipway-job-\(UUID().uuidString)"
        for suffix in ["in", "out", "err"] { _ = FileManager.default.createFile(atPath: "\(base).\(suffix)", contents: nil) }
        defer { for suffix in ["in", "out", "err"] { try? FileManager.default.removeItem(atPath: "\(base).\(suffix)") } }
        try Data(input.utf8).write(to: URL(fileURLWithPath: base + ".in"))
        process.standardInput = FileHandle(forReadingAtPath: base + ".in")
        process.standardOutput = FileHandle(forWritingAtPath: base + ".out")
        process.standardError = FileHandle(forWritingAtPath: base + ".err")
        try process.run()
        var peak = 0
        // Looks often; what it reads is the highest so far, so nothing but the last moments can be missed.
        while process.isRunning {
            peak = max(peak, ServerProcess.peakKiB(of: process.processIdentifier) ?? 0)
            usleep(2000)
        }
        process.waitUntilExit()
        func text(_ suffix: String) -> String { (try? String(contentsOfFile: "\(base).\(suffix)", encoding: .utf8)) ?? "" }
        return Outcome(status: process.terminationStatus, output: text("out"), errors: text("err"), peakKiB: peak)
    }
}
