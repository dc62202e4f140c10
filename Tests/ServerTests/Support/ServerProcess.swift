import Foundation
import HTTPTransport
import Logging
import NIOCore
import TestSupport
import Testing

/// The built `slipway-server`, started as an operator would.
final class ServerProcess: Sendable {
    let url: String
    let directory: String
    private let process: Process
    private let end: EndOfTest
    private let log: WatchedLog
    private let endedAt: AsyncStream<Void>

    /// Returns when the log says that the server is ready.
    static func start(
        database: String?, directory: String? = nil, arguments: [String] = [], environment: [String: String] = [:],
        under wrapper: [String] = []
    ) async throws -> ServerProcess {
        let server = try launch(
            database: database, directory: directory, arguments: arguments, environment: environment, under: wrapper)
        for await line in server.lines() {
            if let range = line.range(of: "is ready at ") {
                return ServerProcess(server, url: String(line[range.upperBound...].prefix { $0 != " " }))
            }
        }
        throw Failed(log: server.logText)
    }

    /// Returns at once.
    ///
    /// - Parameter wrapper: a program that ends up executing the server, with its arguments.
    static func launch(
        database: String?, directory: String? = nil, arguments: [String] = [], environment: [String: String] = [:],
        under wrapper: [String] = []
    ) throws -> ServerProcess {
        let directory = try directory ?? temporaryDirectory()
        // Beside the directory: some tests fill its disk.
        let log = try WatchedLog(path: directory + "-\(UUID().uuidString.prefix(8)).log")
        let process = Process()
        process.executableURL = wrapper.first.map { URL(fileURLWithPath: $0) } ?? binary
        process.arguments =
            (wrapper.isEmpty ? [] : wrapper.dropFirst() + [binary.path]) + ["--data-dir", directory, "--listen", "127.0.0.1:0"]
            + (database.map { ["--postgres-url", $0] } ?? []) + arguments
        process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin"].merging(environment) { _, new in new }
        process.standardError = log.handle()
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        let (ended, end) = AsyncStream<Void>.makeStream()
        process.terminationHandler = { _ in
            log.end()
            end.finish()
        }
        try process.run()
        return ServerProcess(process, directory: directory, log: log, endedAt: ended)
    }

    struct Failed: Error, CustomStringConvertible {
        var log: String
        var description: String { "the server ended before it was ready:\n\(log)" }
    }

    private init(_ process: Process, directory: String, log: WatchedLog, endedAt: AsyncStream<Void>) {
        (self.process, self.directory, self.log, self.endedAt, url) = (process, directory, log, endedAt, "")
        end = EndOfTest(process: process)
    }

    private init(_ other: ServerProcess, url: String) {
        (process, directory, log, endedAt, self.url) = (other.process, other.directory, other.log, other.endedAt, url)
        end = other.end
    }

    /// A test that breaks off lets go of its server without stopping it.
    private final class EndOfTest: Sendable {
        let process: Process
        init(process: Process) { self.process = process }
        deinit { if process.isRunning { process.terminate() } }
    }

    static func temporaryDirectory() throws -> String {
        let path = "/tmp/slipway-server-tests/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        chmod("/tmp/slipway-server-tests", 0o711)
        chmod(path, 0o711)
        return path
    }

    /// Beside the test bundle.
    static let binary: URL = {
        let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        var folder = bundle.deletingLastPathComponent()
        while folder.path != "/" {
            let candidate = folder.appendingPathComponent("slipway-server")
            if FileManager.default.isExecutableFile(atPath: candidate.path) { return candidate }
            folder = folder.deletingLastPathComponent()
        }
        return URL(fileURLWithPath: ".build/debug/slipway-server")
    }()

    var pid: Int32 { process.processIdentifier }
    var logText: String { log.text }

    /// The complete lines of the log as they are written; ends with the process.
    func lines() -> AsyncStream<String> { log.lines() }

    func waitForLine(containing text: String) async throws {
        for await line in lines() where line.contains(text) { return }
        throw Failed(log: logText)
    }

    func signal(_ number: Int32) { kill(pid, number) }

    /// Waits for the end. The status, or the negative number of the signal that killed it.
    func ended() async -> Int32 {
        for await _ in endedAt {}
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    func stop() async {
        if process.isRunning { signal(SIGTERM) }
        _ = await ended()
        for path in [directory, log.path] { try? FileManager.default.removeItem(atPath: path) }
    }

    /// What the server printed for whoever makes the first account.
    var setupCode: String? {
        logText.split(separator: "\n").compactMap { line in
            line.range(of: "set-up code ").map { String(line[$0.upperBound...]) }
        }.last
    }

    /// The most memory that a process has had so far.
    static func peakKiB(of pid: pid_t) -> Int? {
        guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
        else { return nil }
        return line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first
    }
}
