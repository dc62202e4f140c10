import AgentProtocol
import CAgent
import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import TestSupport
import Workspaces

/// A real agent with a real zone, outside a sandbox, and a real server side. The harness is what the keeper is inside one: it holds
/// the zone's socket, so that agents may die and come back.
final class AgentHarness: Sendable {
    struct Processes: Sendable {
        var zone: pid_t = 0
        var zoneSocket: Int32 = -1
        var agent: pid_t = 0
        var agentStarts = 0
        var sandbox = ""
    }

    let directory: String
    let workspace = WorkspaceID()
    let token = "token-" + UUID().uuidString
    private let processes = NIOLockedValueBox(Processes())

    static var libexec: Result<String, any Error> { Programs.libexec }

    var home: String { directory + "/home" }
    var state: String { directory + "/state" }
    var sockets: String { directory + "/sock" }
    var sandbox: String { processes.withLockedValue { $0.sandbox } }
    var agentPID: pid_t { processes.withLockedValue { $0.agent } }
    var zonePID: pid_t { processes.withLockedValue { $0.zone } }

    /// Lends a harness with its zone running; ends everything afterwards.
    static func with<Value>(agent: Bool = true, _ body: (AgentHarness) async throws -> Value) async throws -> Value {
        let harness = try AgentHarness()
        defer { harness.end() }
        try harness.startZone()
        if agent { try harness.startAgent() }
        return try await body(harness)
    }

    /// The same with a server that the agent is connected to.
    static func connected<Value>(_ body: (AgentHarness, AgentConnection) async throws -> Value) async throws -> Value {
        try await with { harness in
            try await harness.withServer { server in
                try await body(harness, try await server.sessions.connection(for: harness.workspace, within: .seconds(20)))
            }
        }
    }

    private init() throws {
        directory = "/tmp/swa-" + String(UInt64.random(in: 0...(.max)), radix: 36)
        for path in [directory, home, state, sockets] {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        try Data((token + "\n").utf8).write(to: URL(fileURLWithPath: directory + "/token"))
    }

    private func end() {
        killAgent()
        killZone()
        if let text = try? String(contentsOfFile: directory + "/log", encoding: .utf8), text.contains("Fatal error") { print(text) }
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: Server

    struct Server: Sendable {
        let sessions: AgentSessions
        let listener: AgentListener
    }

    /// A server process's side: listener and sessions, closed afterwards.
    func withServer<Value>(
        name: String = "server", folder: String? = nil, logger: Logger = .test, _ body: (Server) async throws -> Value
    ) async throws -> Value {
        let (token, workspace) = (token, workspace)
        let sessions = AgentSessions(logger: logger)
        let listener = AgentListener(socketPath: "\(folder ?? sockets)/\(name).sock", sessions: sessions, logger: logger) {
            $0.reveal() == token ? workspace : nil
        }
        try await listener.start()
        do {
            let value = try await body(Server(sessions: sessions, listener: listener))
            await listener.close()
            return value
        } catch {
            await listener.close()
            throw error
        }
    }

    // MARK: Processes

    func startZone() throws {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw POSIXError(.EMFILE)
        }
        let zone = try Programs.zone.get()
        let environment = ["HOME=\(home)", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]
        let pid = try spawn(zone, ["zone", "--direct"], environment, inherited: ends[1])
        close(ends[1])
        processes.withLockedValue { ($0.zone, $0.zoneSocket, $0.sandbox) = (pid, ends[0], UUID().uuidString) }
    }

    /// - Parameter fileLimit: KiB that any file of the agent may have: a full disk, for tests.
    func startAgent(fileLimit: Int? = nil) throws {
        let (socket, sandbox, start) = processes.withLockedValue { processes in
            processes.agentStarts += 1
            return (processes.zoneSocket, processes.sandbox, processes.agentStarts)
        }
        let environment = [
            "SLIPWAY_SANDBOX_ID=\(sandbox)", "SLIPWAY_ZONE_FD=3", "SLIPWAY_AGENT_START=\(start)", "PATH=/usr/bin:/bin",
        ]
        let flags = ["--direct", "--state", state, "--sockets", sockets, "--token", directory + "/token", "--home", home]
        let agent = try Programs.agent.get()
        let pid =
            if let fileLimit {
                try spawn(
                    "/bin/bash", ["bash", "-c", "ulimit -S -f \(fileLimit); exec \"$0\" \"$@\"", agent] + flags, environment,
                    inherited: socket)
            } else { try spawn(agent, ["slipway-agent"] + flags, environment, inherited: socket) }
        processes.withLockedValue { $0.agent = pid }
    }

    /// Takes the limit away.
    func giveAgentRoom() throws {
        let program = Process()
        program.executableURL = URL(fileURLWithPath: "/usr/bin/prlimit")
        program.arguments = ["--pid", "\(processes.withLockedValue { $0.agent })", "--fsize=unlimited:"]
        try program.run()
        program.waitUntilExit()
        guard program.terminationStatus == 0 else { throw AppError(.internal, "prlimit ended with \(program.terminationStatus)") }
    }

    func killAgent() {
        let pid = processes.withLockedValue { processes in
            defer { processes.agent = 0 }
            return processes.agent
        }
        guard pid > 0 else { return }
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// Ends the sandbox: the zone and all commands. The next one has another id.
    func killZone() {
        let socket = processes.withLockedValue { processes in
            defer { processes.zoneSocket = -1 }
            return processes.zoneSocket
        }
        if socket >= 0 { close(socket) }
        let pid = processes.withLockedValue { processes in
            defer { processes.zone = 0 }
            return processes.zone
        }
        // It ends by itself when nobody holds the other end, after it ended its commands.
        if pid > 0 { waitpid(pid, nil, 0) }
    }

    private func spawn(_ program: String, _ arguments: [String], _ environment: [String], inherited: Int32) throws -> pid_t {
        let log = open(directory + "/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        defer { close(log) }
        var argv = arguments.map { strdup($0) } + [nil]
        var envp = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let error = cagent_spawn(&pid, program, &argv, &envp, log, inherited)
        guard error == 0 else { throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO) }
        return pid
    }

    /// Returns when the agent (or the zone) has written this to its log.
    func waitForLog(_ text: String) async throws {
        try await eventually("the log says '\(text)'") {
            ((try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? "").contains(text)
        }
    }

    // MARK: Files

    func text(_ path: String) throws -> String { try String(contentsOfFile: home + "/" + path, encoding: .utf8) }
    func put(_ text: String, _ path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: home + "/" + path)) }
}

/// The programs under test.
private enum Programs {
    /// SwiftPM puts it beside the test bundle.
    static let agent = Result<String, any Error> {
        if let path = ProcessInfo.processInfo.environment["SLIPWAY_TEST_AGENT"] { return path }
        let bundle = Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") } ?? Bundle.main.bundlePath
        for base in [URL(fileURLWithPath: bundle).deletingLastPathComponent(), URL(fileURLWithPath: bundle)] {
            let path = base.appendingPathComponent("slipway-agent").path
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        throw AppError(.internal, "slipway-agent is not beside \(bundle)")
    }

    static let zone = Result<String, any Error> {
        try script("build-tools.sh")
        return root.appendingPathComponent("dist/libexec/sandbox/zone").path
    }

    /// What sandboxes are made of, the static agent included. Quick when it was built before.
    static let libexec = Result<String, any Error> {
        try script("build-tools.sh")
        try script("build-agent.sh")
        return root.appendingPathComponent("dist/libexec").path
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private static func script(_ name: String) throws {
        let build = Process()
        build.executableURL = root.appendingPathComponent("scripts/" + name)
        build.standardOutput = FileHandle.nullDevice
        try build.run()
        build.waitUntilExit()
        guard build.terminationStatus == 0 else { throw AppError(.internal, "scripts/\(name) failed") }
    }
}

extension Logger {
    static var test: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }
}

extension AgentConnection {
    /// Runs a line for bash to its end and gives its output as text.
    func sh(_ line: String, id: String = UUID().uuidString, fence: Fence = 1) async throws -> (state: ProcessState, text: String) {
        let output = try await run(ProcessStart(id: id, fence: fence, shell: line), within: .seconds(30))
        return (output.status.state, String(decoding: output.data, as: UTF8.self))
    }
}
