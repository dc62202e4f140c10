import Core
import Foundation
import Glibc
import Logging

@testable import Provisioning

/// Whose uids sandboxes get.
enum Mode: String, CaseIterable, Sendable {
    /// The launcher runs as root: two host uids per workspace.
    case root
    /// The launcher runs as a plain user (`nobody` when the tests run as root).
    case user

    /// Root mode can be shown by root alone; user mode by everybody.
    static var possible: [Mode] { geteuid() == 0 ? [.root, .user] : [.user] }
}

/// A directory with sandboxes in it, and the programs they are made of.
struct TestHost: Sendable {
    let mode: Mode
    let configuration: SandboxConfiguration
    let sandbox: LocalSandbox

    static let logger: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    static func resource(_ name: String) -> String { "\(repository)/Tests/ProvisioningTests/Resources/\(name)" }

    /// Launcher, keeper, zone and filter as the product builds them, with the stand-in for the agent. Kept for the next run.
    private static let programs = Result<String, any Error> {
        var repository = stat()
        guard stat(Self.repository, &repository) == 0 else { throw AppError(.internal, "There is no \(Self.repository).") }
        let directory = "/tmp/sw-libexec-\(geteuid())-\(repository.st_ino)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try run("\(Self.repository)/scripts/build-tools.sh", directory)
        try run("/usr/bin/cc", "-O2", "-static", resource("stand-in-agent.c"), "-o", "\(directory)/sandbox/agent")
        return directory
    }

    /// The same, with a launcher that gives root up before it starts.
    private static let unprivilegedPrograms = Result<String, any Error> {
        let directory = "\(try programs.get())-user"
        try? FileManager.default.removeItem(atPath: directory)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(directory)/sandbox", withDestinationPath: "\(try programs.get())/sandbox")
        let script = """
            #!/bin/sh
            exec setpriv --reuid 65534 --regid 65534 --clear-groups \(try programs.get())/slipway-launcher "$@"
            """
        try script.write(toFile: "\(directory)/slipway-launcher", atomically: false, encoding: .utf8)
        chmod("\(directory)/slipway-launcher", 0o755)
        return directory
    }

    /// A new directory with a short name; sockets' paths may have 107 bytes.
    static func makeDirectory(_ name: String) throws -> String {
        var template = Array("/tmp/sw-\(name)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw AppError(.internal, "mkdtemp failed") }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)
        return path
    }

    @discardableResult
    static func run(_ words: String...) throws -> String {
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: words[0])
        process.arguments = Array(words.dropFirst())
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw AppError(.internal, "\(words) ended with \(process.terminationStatus)") }
        return String(decoding: data, as: UTF8.self)
    }

    static func configuration(_ mode: Mode) throws -> SandboxConfiguration {
        let base = try makeDirectory("base")
        let dropsRoot = mode == .user && geteuid() == 0
        if dropsRoot { chown(base, 65534, 65534) }
        var configuration = SandboxConfiguration(
            base: base, libexec: try (dropsRoot ? unprivilegedPrograms : programs).get())
        configuration.freeSpaceFloor = 1 << 20
        return configuration
    }

    /// Whatever still runs in `base` is killed, and everything in it removed, when the body is done.
    static func with<Result>(
        _ mode: Mode, tools: [String] = [], _ body: (TestHost) async throws -> Result
    ) async throws -> Result {
        var configuration = try configuration(mode)
        try configuration.show(tools: tools)
        let sandbox = try await LocalSandbox.open(configuration, logger: logger)
        let host = TestHost(mode: mode, configuration: configuration, sandbox: sandbox)
        do {
            let result = try await body(host)
            await host.cleanUp()
            return result
        } catch {
            await host.cleanUp()
            throw error
        }
    }

    private func cleanUp() async {
        // The test's own may have been closed on purpose.
        let sandbox = try? await LocalSandbox.open(configuration, logger: Self.logger)
        let owners = (try? FileManager.default.contentsOfDirectory(atPath: "\(configuration.base)/ws")) ?? []
        for number in owners.compactMap({ Int($0) }) where number > 0 {
            let path = "\(configuration.base)/ws/\(number)/state/owner"
            guard let hex = try? String(contentsOfFile: path, encoding: .utf8), let data = Data(hex: String(hex.prefix(32))) else {
                continue
            }
            let workspace = WorkspaceID(data.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) })
            if let record = try? await sandbox?.running(workspace: workspace, number: number) { try? await sandbox?.kill(record) }
            try? await sandbox?.remove(workspace: workspace, number: number)
        }
        sandbox?.close()
        self.sandbox.close()
        try? FileManager.default.removeItem(atPath: configuration.base)
    }

    /// A specification with a number that no other test of this run has: uids and cgroups are the host's.
    static func spec(limits: SandboxLimits = .init(memoryBytes: 1 << 30), workspace: WorkspaceID = WorkspaceID()) -> SandboxSpec {
        SandboxSpec(workspace: workspace, number: Numbers.next(), limits: limits, token: Secret("token-\(workspace)"))
    }
}

private enum Numbers {
    private static let lock = NSLock()
    nonisolated(unsafe) private static var last = Int(getpid() % 500) * 100

    static func next() -> Int {
        lock.withLock {
            last += 1
            return last
        }
    }
}
