import Foundation

/// A unified diff as a page shows it: files with their lines, each with its kind.
struct DiffView: Sendable, Equatable {
    struct Line: Sendable, Equatable {
        /// `add`, `del`, `hunk`, `same` or `meta`: a class of the style sheet.
        var kind: String
        var text: String
    }

    struct File: Sendable, Equatable {
        var path: String
        var added = 0
        var removed = 0
        var lines: [Line] = []
    }

    var files: [File] = []
    var added: Int { files.reduce(0) { $0 + $1.added } }
    var removed: Int { files.reduce(0) { $0 + $1.removed } }

    /// - Parameter isCut: more follows behind `data`, whose last line may be a part of one and is left out.
    init(_ data: Data, isCut: Bool) {
        let end = isCut ? data.lastIndex(of: UInt8(ascii: "\n")) ?? data.startIndex : data.endIndex
        self.init(String(decoding: data[..<end], as: UTF8.self))
    }

    /// Reads the output of `git diff`. Whatever is not understood is kept as a `meta` line: nothing is left out, except lines past
    /// `limit`, which are counted in the last line.
    init(_ diff: String, limit: Int = 5000) {
        var inHunk = false
        var shown = 0
        var left = 0
        for line in diff.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("diff --git ") {
                files.append(File(path: Self.path(ofHeader: line)))
                inHunk = false
                continue
            }
            guard !files.isEmpty else { continue }
            if line.hasPrefix("@@") { inHunk = true }
            let kind = Self.kind(of: line, inHunk: inHunk)
            if kind == "add" { files[files.count - 1].added += 1 }
            if kind == "del" { files[files.count - 1].removed += 1 }
            if kind == "meta", !Self.worthShowing(line) { continue }
            shown += 1
            if shown > limit { left += 1 } else { files[files.count - 1].lines.append(Line(kind: kind, text: String(line))) }
        }
        if left > 0 { files[files.count - 1].lines.append(Line(kind: "meta", text: "… \(left) more lines")) }
    }

    private static func kind(of line: Substring, inHunk: Bool) -> String {
        if line.hasPrefix("@@") { return "hunk" }
        guard inHunk else { return "meta" }
        return switch line.first {
        case "+": "add"
        case "-": "del"
        case "\\": "meta"
        default: "same"
        }
    }

    /// `index`, `---` and `+++` repeat what the header says.
    private static func worthShowing(_ line: Substring) -> Bool {
        !(line.isEmpty || line.hasPrefix("index ") || line.hasPrefix("--- ") || line.hasPrefix("+++ "))
    }

    /// `diff --git a/x b/x` → `x`: the name after the change.
    private static func path(ofHeader line: Substring) -> String {
        let names = line.dropFirst("diff --git ".count)
        guard let separator = names.range(of: " b/") else { return String(names) }
        return String(names[separator.upperBound...])
    }
}
