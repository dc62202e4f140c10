import Core
import Foundation
import Testing

@testable import AgentLoop

@Suite struct PromptSetTests {
    private let situation = PromptSet.Situation(
        directory: "/home/agent/project", branch: "slipway/fix-the-parser", base: "main (0123456789ab)")

    @Test func `the placeholders are all filled in`() throws {
        let text = try PromptSet().system(for: situation)
        #expect(
            text.contains("/home/agent/project") && text.contains("slipway/fix-the-parser") && text.contains("main (0123456789ab)"))
        #expect(!text.contains("{{"))
    }

    @Test func `one file can be overridden, and the hash tells`() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("prompts-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data("Be brief in {{directory}}.".utf8).write(to: folder.appendingPathComponent("system.md"))
        let own = try PromptSet(overrides: folder.path)
        #expect(own.system(for: situation) == "Be brief in /home/agent/project.")
        #expect(own.tools == (try PromptSet().tools))
        #expect(own.hash != (try PromptSet().hash))
    }

    @Test func `a broken override is refused with its name`() throws {
        var files = Embedded.files
        files["tools/search.json"] = #"{"name": "grep"}"#
        let error = #expect(throws: AppError.self) { try PromptSet(files: files) }
        #expect(error?.message.contains("prompts/tools/search.json") == true)
    }
}
