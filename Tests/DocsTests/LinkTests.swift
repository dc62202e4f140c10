import Foundation
import Testing

@Suite struct LinkTests {
    @Test func `every relative link leads to a file, and every anchor to a heading`() throws {
        var checked = 0
        for document in try Repository.documents {
            let folder = (document.path as NSString).deletingLastPathComponent
            for (line, target) in document.links where !target.contains("://") && !target.hasPrefix("mailto:") {
                checked += 1
                let parts = target.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
                let file = parts[0].isEmpty ? document.path : Self.normal("\(folder)/\(parts[0])")
                guard Repository.exists(file) else {
                    Issue.record("\(document.path):\(line): there is no \(file)")
                    continue
                }
                if parts.count == 2 {
                    let anchors = try Repository.markdown(file).anchors
                    #expect(anchors.contains(String(parts[1])), "\(document.path):\(line): \(file) has no heading #\(parts[1])")
                }
            }
        }
        #expect(checked > 20)
    }

    @Test func `every file of the repository that prose names in code is there`() throws {
        var checked = 0
        for document in try Repository.documents {
            for (line, span) in document.codeSpans where Self.isRepositoryPath(span) {
                checked += 1
                let path = span.hasSuffix("/") ? String(span.dropLast()) : span
                #expect(Repository.exists(path), "\(document.path):\(line): there is no \(path)")
            }
        }
        #expect(checked > 20)
    }

    /// `docs/` has a reader for each file: nothing lies there that no other page leads to.
    @Test func `every document is linked from another one`() throws {
        let documents = try Repository.documents
        let linked = Set(
            documents.flatMap { document in
                document.links.map { link in
                    let folder = (document.path as NSString).deletingLastPathComponent
                    return Self.normal("\(folder)/\(link.target.prefix { $0 != "#" })")
                }
            })
        for document in documents where document.path != "README.md" {
            #expect(linked.contains(document.path), "nothing links to \(document.path)")
        }
    }

    @Test func `every type and method that the life of a request names is declared`() throws {
        let source = try Repository.sources
        let document = try Repository.markdown("docs/life-of-a-request.md")
        var checked = 0
        for (line, span) in document.codeSpans where span.first?.isUppercase == true && span.wholeMatch(of: /[\w.]+/) != nil {
            let names = span.split(separator: ".").map(String.init)
            let type = try Regex(#"\b(struct|class|actor|enum|protocol|extension) \#(names[0])\b"#)
            #expect(source.contains(type), "\(document.path):\(line): there is no type \(names[0])")
            for member in names.dropFirst() {
                let declaration = try Regex(#"\b(func|var|let|struct|case|enum) \#(member)\b"#)
                #expect(source.contains(declaration), "\(document.path):\(line): nothing is called \(member)")
            }
            checked += 1
        }
        #expect(checked > 40)
    }

    @Test func `the map of modules has every target of the package`() throws {
        let package = try Repository.text("Package.swift")
        let targets = package.matches(of: /\.(?:target|executableTarget|systemLibrary|plugin)\(\s*name: "([^"]+)"/)
            .map { String($0.1) }
        #expect(targets.count > 15)
        let named = Set(try Repository.markdown("docs/modules.md").codeSpans.map(\.text))
        for target in targets { #expect(named.contains(target), "docs/modules.md does not name \(target)") }
    }

    private static let roots = [
        "Sources/", "Tests/", "docs/", "config/", "prompts/", "migrations/", "scripts/", "dashboard/", "bench/",
    ]

    private static func isRepositoryPath(_ span: String) -> Bool {
        roots.contains { span.hasPrefix($0) } && !span.contains { " *<>{}…".contains($0) } && !span.contains("NNNN")
    }

    private static func normal(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return parts.joined(separator: "/")
    }
}
