import Foundation

/// Runs a line of bash and waits for it.
enum Shell {
    struct Failed: Error, CustomStringConvertible { var description: String }

    struct Outcome: Sendable {
        var status: Int32
        /// Standard output and standard error as they came.
        var output: String
    }

    static func run(_ line: String, in folder: String = "/tmp", environment: [String: String] = [:], input: String = "") throws
        -> Outcome
    {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", line]
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"].merging(environment) {
            $1
        }
        // Files, not pipes: nothing can fill up while this waits.
        let base = "/tmp/slipway-shell-\(UUID().uuidString)"
        defer { for suffix in ["in", "out"] { try? FileManager.default.removeItem(atPath: "\(base).\(suffix)") } }
        try Data(input.utf8).write(to: URL(fileURLWithPath: base + ".in"))
        try Data().write(to: URL(fileURLWithPath: base + ".out"))
        process.standardInput = FileHandle(forReadingAtPath: base + ".in")
        let output = FileHandle(forWritingAtPath: base + ".out")
        process.standardOutput = output
        process.standardError = output
        try process.run()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationStatus, output: (try? String(contentsOfFile: base + ".out", encoding: .utf8)) ?? "")
    }

    /// - Throws: when the line fails, with what it said.
    @discardableResult
    static func check(_ line: String, in folder: String = "/tmp", environment: [String: String] = [:], input: String = "") throws
        -> String
    {
        let outcome = try run(line, in: folder, environment: environment, input: input)
        guard outcome.status == 0 else { throw Failed(description: "\(line): \(outcome.output)") }
        return outcome.output
    }
}
