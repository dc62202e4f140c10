import Foundation

/// A server as the documents describe it: its own PostgreSQL, the scripted model, an empty data directory.
final class DocServer: Sendable {
    let url: String
    let directory: String
    let setupCode: String
    private let process: Process

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
        let log = directory + "/server.log"
        try Data().write(to: URL(fileURLWithPath: log))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Programs.folder + "/slipway-server")
        process.arguments = [
            "--data-dir", directory + "/data", "--listen", "127.0.0.1:0", "--demo-model", "--libexec", Programs.libexec,
        ]
        process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin"]
        process.standardError = FileHandle(forWritingAtPath: log)
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        while true {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            if let url = text.firstMatch(of: /is ready at (\S+)/), let code = text.firstMatch(of: /set-up code ([A-Z0-9-]+)\n/) {
                return DocServer(url: String(url.1), directory: directory, setupCode: String(code.1), process: process)
            }
            guard process.isRunning else { throw Failed(log: text) }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private init(url: String, directory: String, setupCode: String, process: Process) {
        (self.url, self.directory, self.setupCode, self.process) = (url, directory, setupCode, process)
    }

    var log: String { (try? String(contentsOfFile: directory + "/server.log", encoding: .utf8)) ?? "" }

    /// Sandboxes outlive a server, so they are ended first.
    func stop() async throws {
        process.terminate()
        while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
        try? FileManager.default.removeItem(atPath: directory)
    }
}
