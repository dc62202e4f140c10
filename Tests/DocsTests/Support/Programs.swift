import Foundation

/// The programs that were built with these tests, and running them.
enum Programs {
    /// Where they lie: beside the test bundle.
    static let folder: String = {
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path != "/" {
            if FileManager.default.isExecutableFile(atPath: folder.path + "/slipway-server") { return folder.path }
            folder.deleteLastPathComponent()
        }
        return Repository.root + "/.build/debug"
    }()

    /// The sandbox's tools: where `make tools agent` puts them, unless told.
    static var libexec: String {
        ProcessInfo.processInfo.environment["SLIPWAY_LIBEXEC"] ?? Repository.root + "/dist/libexec"
    }

    struct Outcome: Sendable {
        /// Negative: the signal that ended it.
        var status: Int32
        /// Standard output and errors, as on a terminal.
        var text: String
    }

    /// - Parameter patience: after it the program is killed.
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
        patience: Duration = .seconds(60)
    ) async throws -> Outcome {
        let file = FileManager.default.temporaryDirectory.appending(path: "slipway-docs-\(UUID().uuidString)")
        try Data().write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ["PATH": "\(folder):/usr/bin:/bin", "LC_ALL": "C.UTF-8"].merging(environment) { $1 }
        if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
        let output = try FileHandle(forWritingTo: file)
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        let (ended, end) = AsyncStream<Void>.makeStream()
        process.terminationHandler = { _ in end.finish() }
        try process.run()
        let pid = process.processIdentifier
        // Cancelled below; only a program that hangs lets it come to the kill.
        let watchdog = Task {
            try await Task.sleep(for: patience)
            kill(pid, SIGKILL)
        }
        for await _ in ended {}
        watchdog.cancel()
        let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        return Outcome(status: status, text: String(decoding: try Data(contentsOf: file), as: UTF8.self))
    }
}
