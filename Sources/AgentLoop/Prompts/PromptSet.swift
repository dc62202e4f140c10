import Core
import Crypto
import Foundation
import ModelAPI

/// The texts that shape what a model does: the system prompt and the tools' schemas, as built in or as overridden file by file.
package struct PromptSet: Sendable {
    /// One tool as it is sent: the schema stays the exact JSON text of its file.
    package struct Tool: Sendable, Equatable {
        package var name: String
        package var description: String
        package var inputSchema: JSONValue
    }

    /// What the placeholders of the system prompt stand for in one task.
    package struct Situation: Sendable {
        package var directory: String
        package var branch: String
        package var base: String

        package init(directory: String, branch: String, base: String) {
            self.directory = directory
            self.branch = branch
            self.base = base
        }
    }

    private let system: String
    /// In the fixed order of `ToolName`, so that provider caches hold.
    package let tools: [Tool]
    /// The tools as a conversation sends them.
    package let schemas: [ToolSchema]
    /// SHA-256 over all texts, in hex: stored with each step.
    package let hash: String

    /// The built-in texts; a file of the same name below `overrides` takes the place of a built-in one.
    ///
    /// - Throws: `badRequest` naming the file that is unreadable, no valid schema, or of no known tool.
    package init(overrides: String? = nil) throws {
        var files = Embedded.files
        if let overrides {
            for name in Embedded.files.keys {
                let path = URL(fileURLWithPath: overrides).appendingPathComponent(name).path
                guard FileManager.default.fileExists(atPath: path) else { continue }
                do { files[name] = try String(contentsOfFile: path, encoding: .utf8) } catch {
                    throw AppError(
                        .badRequest, "The prompt file \(path) cannot be read as UTF-8 text.", field: "prompts", cause: error)
                }
            }
        }
        try self.init(files: files)
    }

    init(files: [String: String]) throws {
        guard let system = files["system.md"], !system.isEmpty else {
            throw AppError(.badRequest, "prompts/system.md is missing or empty.", field: "prompts")
        }
        self.system = system
        tools = try ToolName.allCases.map { tool in
            let name = "tools/\(tool.rawValue).json"
            guard let text = files[name] else { throw AppError(.badRequest, "prompts/\(name) is missing.", field: "prompts") }
            return try Self.tool(tool, text, file: name)
        }
        schemas = try tools.map {
            try ToolSchema(name: $0.name, description: $0.description, inputSchema: $0.inputSchema.canonicalText)
        }
        var digest = SHA256()
        for (name, text) in files.sorted(by: { $0.key < $1.key }) {
            digest.update(data: Data("\(name)\u{0}\(text.utf8.count)\u{0}\(text)".utf8))
        }
        hash = Data(digest.finalize()).hex
    }

    /// The system prompt of a task.
    package func system(for situation: Situation) -> String {
        system
            .replacingOccurrences(of: "{{directory}}", with: situation.directory)
            .replacingOccurrences(of: "{{branch}}", with: situation.branch)
            .replacingOccurrences(of: "{{base}}", with: situation.base)
    }

    private static func tool(_ name: ToolName, _ text: String, file: String) throws -> Tool {
        guard case .object(let fields)? = try? JSONValue(parsing: text), case .string(name.rawValue)? = fields["name"],
            case .string(let description)? = fields["description"], let schema = fields["input_schema"], case .object = schema
        else {
            throw AppError(
                .badRequest, "prompts/\(file) must be a JSON object with name \"\(name.rawValue)\", description and input_schema.",
                field: "prompts")
        }
        return Tool(name: name.rawValue, description: description, inputSchema: schema)
    }
}
