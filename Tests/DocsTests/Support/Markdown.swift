import Foundation

/// What the tests need to know of a Markdown file: its fenced blocks, its inline code and its links.
struct Markdown: Sendable {
    struct Block: Sendable {
        /// What stands behind the fence, e.g. `sh run`.
        var info: String
        var text: String
        /// Of the fence, from 1.
        var line: Int
    }

    /// Relative to the repository.
    let path: String
    private(set) var blocks: [Block] = []
    /// Lines outside of fenced blocks, with their numbers.
    private(set) var prose: [(line: Int, text: Substring)] = []

    init(path: String, text: String) {
        self.path = path
        var open: Block?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.hasPrefix("```") {
                if let block = open {
                    blocks.append(block)
                    open = nil
                } else {
                    open = Block(info: String(line.dropFirst(3)).trimmingCharacters(in: .whitespaces), text: "", line: index + 1)
                }
            } else if open != nil {
                open?.text += line + "\n"
            } else {
                prose.append((index + 1, line))
            }
        }
    }

    /// Inline code, with its line.
    var codeSpans: [(line: Int, text: String)] {
        prose.flatMap { line, text in
            text.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }
                .map { (line, String($0.element)) }
        }
    }

    /// Targets of `[text](target)`, with their lines.
    var links: [(line: Int, target: String)] {
        prose.flatMap { line, text in
            text.matches(of: /\]\(([^)\s]+)\)/).map { (line, String($0.1)) }
        }
    }

    /// As GitHub makes them of headings.
    var anchors: Set<String> {
        Set(
            prose.filter { $0.text.hasPrefix("#") }.map { _, text in
                text.drop { $0 == "#" || $0 == " " }.lowercased()
                    .filter { $0.isLetter || $0.isNumber || $0 == " " || $0 == "-" || $0 == "_" }.replacing(" ", with: "-")
            })
    }
}

/// The files of the repository that this test is compiled from.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    static func text(_ path: String) throws -> String { try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8) }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: "\(root)/\(path)") }

    static func markdown(_ path: String) throws -> Markdown { Markdown(path: path, text: try text(path)) }

    /// All Swift files of `Sources`, one behind the other.
    static var sources: String {
        get throws {
            let files = FileManager.default.enumerator(atPath: root + "/Sources")?.compactMap { $0 as? String } ?? []
            return try files.filter { $0.hasSuffix(".swift") }.map { try text("Sources/" + $0) }.joined(separator: "\n")
        }
    }

    /// The README, CONTRIBUTING and everything in `docs/`.
    static var documents: [Markdown] {
        get throws {
            let docs = try FileManager.default.contentsOfDirectory(atPath: root + "/docs").filter { $0.hasSuffix(".md") }.sorted()
            return try (["README.md", "CONTRIBUTING.md"] + docs.map { "docs/" + $0 }).map(markdown)
        }
    }

    /// All Swift files below a folder.
    static func sources(_ folder: String) throws -> [(path: String, text: String)] {
        let names = FileManager.default.enumerator(atPath: "\(root)/\(folder)")?.compactMap { $0 as? String } ?? []
        return try names.filter { $0.hasSuffix(".swift") }.sorted().map { ("\(folder)/\($0)", try text("\(folder)/\($0)")) }
    }
}
