import Foundation
import TestSupport

/// A server as the documents describe it: its own PostgreSQL, the scripted model, an empty data directory.
final class DocServer: Sendable {
    let url: String
    let directory: String
    let setupCode: String
    private let process: Process
    private let ended: AsyncStream<Void>
    private let watched: WatchedLog

    struct Failed: Error, CustomStringConvertible {
        var log: String
        var description: String { "the server did not become ready:\n\(log)" }
    }

    static func start() async throws -> DocServer {
        // Not below anybody's home: when root starts it, the database's user must be able to pass through.
        let directory = "/tmp/slipway-docs-tests/\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        chmod("/tmp/slipway-docs-tests", 0o711)
        chmod(directory, 0o711)
        let log = try WatchedLog(path: directory + "/server.log")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Programs.folder + "/slipway-server")
        process.arguments = [
            "--data-dir", directory + "/data", "--listen", "127.0.0.1:0", "--demo-model", "--libexec", Programs.libexec,
        ]
        process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin"]
        process.standardError = log.handle()
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        let (ended, end) = AsyncStream<Void>.makeStream()
        process.terminationHandler = { _ in
            log.end()
            end.finish()
        }
        try process.run()
        var url: Substring?
        for await line in log.lines() {
            if let ready = line.firstMatch(of: /is ready at (\S+)/) { url = ready.1 }
            // Said last.
            if let url, let code = line.firstMatch(of: /set-up code ([A-Z0-9-]+)$/) {
                return DocServer(
                    url: String(url), directory: directory, setupCode: String(code.1), process: process, ended: ended, watched: log)
            }
        }
        throw Failed(log: log.text)
    }

    private init(
        url: String, directory: String, setupCode: String, process: Process, ended: AsyncStream<Void>, watched: WatchedLog
    ) {
        (self.url, self.directory, self.setupCode) = (url, directory, setupCode)
        (self.process, self.ended, self.watched) = (process, ended, watched)
    }

    var log: String { watched.text }

    /// Sandboxes outlive a server: they are ended by what the launcher wrote down of each.
    func stop() async throws {
        process.terminate()
        for await _ in ended {}
        Self.endSandboxes(below: directory + "/data/sandboxes/ws")
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// `record` holds the first process's id and its start time, in clock ticks since the machine's boot.
    static func endSandboxes(below folder: String) {
        for place in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            let record = (try? String(contentsOfFile: "\(folder)/\(place)/state/record", encoding: .utf8)) ?? ""
            let words = record.split(separator: " ")
            guard words.count > 1, let pid = Int32(words[0]), pid > 1 else { continue }
            let stat = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
            // The 22nd field; the second one may hold spaces and ends with the last parenthesis.
            let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
            if fields.count > 19, fields[19] == words[1] { kill(pid, SIGKILL) }
        }
    }
}
