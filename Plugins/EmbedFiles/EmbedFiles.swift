import Foundation
import PackagePlugin

/// Turns a folder of plain files (`migrations/`, `prompts/`, …) into Swift string literals of the target that uses it.
///
/// SwiftPM's own `.embedInCode` writes byte arrays, which the compiler does not finish on larger files.
@main
struct EmbedFiles: BuildToolPlugin {
    /// Which folder of the repository each target embeds.
    static let folders = [
        "Schema": "migrations",
        "AgentLoop": "prompts",
        "Gateway": "config/prices",
        "DemoModel": "config/demo",
        "Policies": "config/policies",
        "Server": "dashboard",
    ]

    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        guard let folder = Self.folders[target.name] else {
            throw EmbedError(description: "EmbedFiles has no folder for target \(target.name): add it to EmbedFiles.folders")
        }
        let root = context.package.directoryURL.appending(path: folder)
        let output = context.pluginWorkDirectoryURL.appending(path: "Embedded.swift")
        let files = try filesBelow(root)
        return [
            .buildCommand(
                displayName: "Embedding \(folder)",
                executable: try context.tool(named: "embed-files").url,
                arguments: [root.path, output.path],
                inputFiles: files,
                outputFiles: [output])
        ]
    }

    private func filesBelow(_ root: URL) throws -> [URL] {
        guard let walk = FileManager.default.enumerator(at: root, includingPropertiesForKeys: [.isRegularFileKey]) else {
            throw EmbedError(description: "EmbedFiles cannot read \(root.path)")
        }
        return try walk.compactMap { $0 as? URL }
            .filter { try $0.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true }
            .sorted { $0.path < $1.path }
    }
}

struct EmbedError: Error, CustomStringConvertible {
    let description: String
}
