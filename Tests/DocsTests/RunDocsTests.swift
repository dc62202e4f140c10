import Foundation
import Testing

@Suite struct RunDocsTests {
    /// Each document and its reader: an admin makes the others' accounts, and a developer who reads on is still signed in.
    private static let order: [(path: String, reader: String)] = [
        ("docs/operators.md", "operator"), ("docs/admins.md", "ada"), ("docs/gateway.md", "ada"), ("docs/policies.md", "ada"),
        ("docs/developers.md", "lin"), ("docs/users.md", "lin"),
        ("docs/audit.md", "max"),
    ]

    @Test func `what the documents tell people to type does what they say`() async throws {
        let server = try await DocServer.start()
        let tools = try ToolServer.start()
        defer { tools.stop() }
        do {
            for (path, reader) in Self.order {
                let session = Session(document: try Repository.markdown(path))
                #expect(!session.steps.isEmpty, "\(path) shows nothing that runs")
                let home = "\(server.directory)/\(reader)"
                try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
                let problems = try await session.run(
                    url: server.url,
                    environment: ["HOME": home, "CODE": server.setupCode, "REPOSITORY": Repository.root, "TOOLS": tools.url],
                    directory: home)
                for problem in problems { Issue.record("\(problem)") }
                if !problems.isEmpty { Issue.record("the server's log ends with\n\(server.log.suffix(4000))") }
            }
        } catch {
            try? await server.stop()
            throw error
        }
        try await server.stop()
    }

    @Test func `every document with something that runs is run`() throws {
        let runnable = try Repository.documents.filter { !Session(document: $0).steps.isEmpty }.map(\.path)
        #expect(Set(runnable) == Set(Self.order.map(\.path)))
    }
}
