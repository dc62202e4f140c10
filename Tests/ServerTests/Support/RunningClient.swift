import Foundation
import NIOConcurrencyHelpers
import TestSupport

/// The client program while it runs: what it has said so far, and its end.
final class RunningClient: Sendable {
    private let process: Process
    private let told: WatchedLog
    private let noted: WatchedLog
    private let ends: AsyncStream<Void>

    init(_ words: [String], url: String, token: String) throws {
        let base = "/tmp/slipway-server-tests/client-\(UUID().uuidString)"
        (told, noted) = (try WatchedLog(path: base + ".out"), try WatchedLog(path: base + ".err"))
        process = Process()
        process.executableURL = ServerProcess.binary.deletingLastPathComponent().appending(path: "slipway")
        process.arguments = words
        process.environment = [
            "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "SLIPWAY_URL": url,
            "SLIPWAY_TOKEN": token,
        ]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = told.handle()
        process.standardError = noted.handle()
        let (ends, end) = AsyncStream<Void>.makeStream()
        self.ends = ends
        process.terminationHandler = { [told, noted] _ in
            told.end()
            noted.end()
            end.finish()
        }
        try process.run()
    }

    var output: String { told.text }
    var notes: String { noted.text }

    struct Missing: Error, CustomStringConvertible { var description: String }

    /// Returns when it has printed a line with this text.
    func wait(for text: String) async throws {
        for await line in told.lines() where line.contains(text) { return }
        throw Missing(description: "the client ended without '\(text)': \(output)\n\(notes)")
    }

    /// Returns when it has noted this text so many times.
    func wait(forNote text: String, times: Int = 1) async throws {
        var count = 0
        for await line in noted.lines() where line.contains(text) {
            count += 1
            if count == times { return }
        }
        throw Missing(description: "the client ended without noting '\(text)': \(notes)")
    }

    /// As Ctrl-C does.
    func end() { kill(process.processIdentifier, SIGINT) }

    func ended() async -> Int32 {
        for await _ in ends {}
        return process.terminationStatus
    }
}
