import Foundation
import ModelAPI

/// A copy of the sample repository and just enough tools to play the main scenario on it for real.
struct SampleWorkspace {
    let folder: URL

    static func with<R: Sendable>(_ body: (SampleWorkspace) async throws -> R) async throws -> R {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
            .appendingPathComponent("config/demo/sample-repo")
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slipway-demo-\(UUID())")
        try FileManager.default.copyItem(at: source, to: folder)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await body(SampleWorkspace(folder: folder))
    }

    func text(_ path: String) throws -> String { try String(contentsOf: folder.appendingPathComponent(path), encoding: .utf8) }

    /// Runs one call; its result is what a model would be told.
    func run(_ name: String, _ inputJSON: String) throws -> (text: String, isError: Bool) {
        let input = try JSONSerialization.jsonObject(with: Data(inputJSON.utf8)) as? [String: String] ?? [:]
        switch name {
        case "list_files": return (try shell("ls -A \(input["path"] ?? ".")"), false)
        case "read_file": return (try text(input["path"] ?? ""), false)
        case "execute": return (try shell(input["command"] ?? ""), false)
        case "edit_file":
            let path = input["path"] ?? ""
            let parts = try text(path).components(separatedBy: input["old_text"] ?? "")
            guard parts.count == 2 else { return ("old_text occurs \(parts.count - 1) times", true) }
            try parts.joined(separator: input["new_text"] ?? "").write(
                to: folder.appendingPathComponent(path), atomically: true, encoding: .utf8)
            return ("edited", false)
        default: return ("there is no tool \(name)", true)
        }
    }

    private func shell(_ command: String) throws -> String {
        // Into a file: Foundation's pipe reader ends the program when a signal interrupts it, and each child's end sends one.
        let file = folder.deletingLastPathComponent().appendingPathComponent(folder.lastPathComponent + ".out")
        try Data().write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let handle = try FileHandle(forWritingTo: file)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", command]
        process.currentDirectoryURL = folder
        process.standardOutput = handle
        process.standardError = handle
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try handle.close()
        let output = try Data(contentsOf: file)
        return String(decoding: output, as: UTF8.self) + "\nexit code \(process.terminationStatus)"
    }
}
