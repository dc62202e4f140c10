/// The tools a model has. Their names and schemas are the files of `prompts/tools/`.
package enum ToolName: String, Sendable, CaseIterable, Codable {
    case readFile = "read_file"
    case writeFile = "write_file"
    case editFile = "edit_file"
    case listFiles = "list_files"
    case search
    case execute
    case processOutput = "process_output"
    case processSignal = "process_signal"

    /// Whether a call may change something: such a call runs at most once, whatever crashes.
    package var hasEffect: Bool {
        switch self {
        case .writeFile, .editFile, .execute, .processSignal: true
        case .readFile, .listFiles, .search, .processOutput: false
        }
    }

    /// Reads the name as models write it: any case, with a prefix such as `functions.`, dashes for underscores.
    package init?(tolerant text: String) {
        let name = text.lowercased().split(separator: ".").last.map(String.init) ?? ""
        self.init(rawValue: String(name.map { $0 == "-" ? "_" : $0 }))
    }
}

/// A tool call whose arguments have been checked.
package enum ToolRequest: Sendable, Equatable {
    case readFile(path: String, offset: Int, limit: Int)
    case writeFile(path: String, content: String)
    case editFile(path: String, edit: TextEdit)
    case listFiles(path: String?, depth: Int)
    case search(pattern: String, path: String?, glob: String?, limit: Int)
    case execute(command: String, directory: String?, timeoutSeconds: Int, background: Bool)
    case processOutput(process: String, waitSeconds: Int, offset: Int?)
    case processSignal(process: String, signal: String)
}

extension ToolRequest {
    private static let pathAliases = ["file_path", "file", "filename", "filepath"]
    private static let folderAliases = ["directory", "dir", "folder"]

    /// - Throws: `ArgumentError` naming the field, or listing the tools when there is none of that name.
    package init(name: String, arguments text: String) throws {
        guard let tool = ToolName(tolerant: name) else {
            let tools = ToolName.allCases.map(\.rawValue).joined(separator: ", ")
            throw ArgumentError(field: nil, message: "There is no tool '\(name.prefix(60))'. The tools are: \(tools).")
        }
        var arguments = try ToolArguments(text, tool: tool.rawValue)
        self = try Self.read(tool, &arguments)
        try arguments.finish()
    }

    private static func read(_ tool: ToolName, _ arguments: inout ToolArguments) throws -> ToolRequest {
        switch tool {
        case .readFile:
            return .readFile(
                path: try arguments.path("path", aliases: pathAliases),
                offset: try arguments.integer("offset", in: 1...Int(Int32.max), aliases: ["start_line", "line"]) ?? 1,
                limit: try arguments.integer("limit", in: 1...2000, aliases: ["max_lines"]) ?? 500)
        case .writeFile:
            return .writeFile(
                path: try arguments.path("path", aliases: pathAliases),
                content: try arguments.string("content", aliases: ["contents", "file_text", "text"]))
        case .editFile:
            return .editFile(
                path: try arguments.path("path", aliases: pathAliases),
                edit: TextEdit(
                    old: try arguments.string("old_text", aliases: ["old_string", "old_str", "old"]),
                    new: try arguments.string("new_text", aliases: ["new_string", "new_str", "new"]),
                    replaceAll: try arguments.flag("replace_all")))
        case .listFiles:
            return .listFiles(
                path: try arguments.optionalPath("path", aliases: folderAliases),
                depth: try arguments.integer("depth", in: 1...10) ?? 2)
        case .search:
            let pattern = try arguments.string("pattern", aliases: ["query", "regex"])
            guard !pattern.isEmpty, pattern.utf8.count <= 1000, !pattern.utf8.contains(0) else {
                throw ArgumentError(field: "pattern", message: "pattern of search must be from 1 to 1000 bytes, without NUL.")
            }
            return .search(
                pattern: pattern, path: try arguments.optionalPath("path", aliases: folderAliases),
                glob: try arguments.optionalString("glob", aliases: ["include"]).flatMap { $0.isEmpty ? nil : $0 },
                limit: try arguments.integer("limit", in: 1...500, aliases: ["max_results"]) ?? 100)
        case .execute:
            return .execute(
                command: try arguments.command("command", aliases: ["cmd", "script"]),
                directory: try arguments.optionalPath("directory", aliases: ["workdir", "cwd", "working_directory"]),
                timeoutSeconds: try arguments.integer("timeout_seconds", in: 1...3600, aliases: ["timeout", "timeout_secs"]) ?? 120,
                background: try arguments.flag("background", aliases: ["run_in_background"]))
        case .processOutput:
            return .processOutput(
                process: try arguments.string("process", aliases: ["process_id", "id"]),
                waitSeconds: try arguments.integer("wait_seconds", in: 0...600, aliases: ["wait", "timeout_seconds"]) ?? 10,
                offset: try arguments.integer("offset", in: 0...Int.max))
        case .processSignal:
            let signals = [
                "interrupt": "interrupt", "terminate": "terminate", "kill": "kill", "sigint": "interrupt", "int": "interrupt",
                "sigterm": "terminate", "term": "terminate", "sigkill": "kill", "9": "kill", "15": "terminate", "2": "interrupt",
            ]
            return .processSignal(
                process: try arguments.string("process", aliases: ["process_id", "id"]),
                signal: try arguments.choice("signal", of: signals, listed: ["interrupt", "terminate", "kill"]) ?? "terminate")
        }
    }
}
