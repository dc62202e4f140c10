import Foundation

/// One reader at one terminal: the blocks of a document that are marked `sh run`, run in order by one bash, and compared with the
/// `text` block that follows each.
///
/// In an expected line `…` stands for any characters; a line that is only `…` stands for any lines. Without a `text` block the commands
/// must succeed, whatever they print.
struct Session {
    struct Step {
        var script: Markdown.Block
        var expected: Markdown.Block?
    }

    /// What the address is called in the documents.
    static let shownURL = "http://127.0.0.1:7990"
    /// A character that no program prints, before each block's number.
    private static let mark: Character = "\u{1E}"

    let document: Markdown

    var steps: [Step] {
        document.blocks.enumerated().filter { $0.element.info == "sh run" }.map { index, script in
            let next = document.blocks.dropFirst(index + 1).first
            return Step(script: script, expected: next?.info == "text" ? next : nil)
        }
    }

    /// What was wrong, in sentences; empty when all is as written.
    func run(url: String, environment: [String: String], directory: String) async throws -> [String] {
        let steps = steps
        let script =
            "set -euo pipefail\n"
            + steps.enumerated().map { index, step in
                "printf '\\036%d\\n' \(index)\n" + step.script.text.replacing(Self.shownURL, with: url)
            }.joined()
        let outcome = try await Programs.run("/bin/bash", ["-c", script], environment: environment, directory: directory)
        let parts = outcome.text.replacing(url, with: Self.shownURL).split(separator: Self.mark).map { part in
            part.split(separator: "\n", omittingEmptySubsequences: false).dropFirst().joined(separator: "\n")
        }
        var problems: [String] = []
        for (step, output) in zip(steps, parts) {
            guard let expected = step.expected else { continue }
            let pattern = Self.lines(expected.text)
            if !Self.matches(Self.lines(output)[...], pattern[...]) {
                problems.append("\(document.path):\(expected.line): expected\n\(expected.text)but the commands printed\n\(output)")
            }
        }
        if outcome.status != 0 {
            let last = parts.isEmpty ? nil : steps[parts.count - 1].script
            problems.append(
                "\(document.path):\(last?.line ?? 0): the commands ended with \(outcome.status):\n\(parts.last ?? outcome.text)")
        }
        return problems
    }

    /// Without colours, spaces at ends, and empty lines.
    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map { line in
            var line = line
            while line.last?.isWhitespace == true { line.removeLast() }
            return String(line)
        }.filter { !$0.isEmpty }
    }

    static func matches(_ lines: ArraySlice<String>, _ pattern: ArraySlice<String>) -> Bool {
        guard let first = pattern.first else { return lines.isEmpty }
        if first == "…" {
            return (lines.startIndex...lines.endIndex).contains { matches(lines[$0...], pattern.dropFirst()) }
        }
        guard let line = lines.first, matches(line, pattern: first) else { return false }
        return matches(lines.dropFirst(), pattern.dropFirst())
    }

    static func matches(_ line: String, pattern: String) -> Bool {
        let pieces = pattern.split(separator: "…", omittingEmptySubsequences: false)
        guard pieces.count > 1 else { return line == pattern }
        guard line.hasPrefix(pieces[0]), line.count >= pieces[0].count, line.hasSuffix(pieces[pieces.count - 1]) else {
            return false
        }
        var rest = line.dropFirst(pieces[0].count)
        for piece in pieces[1..<(pieces.count - 1)] where !piece.isEmpty {
            guard let range = rest.range(of: piece) else { return false }
            rest = rest[range.upperBound...]
        }
        return rest.count >= pieces[pieces.count - 1].count
    }
}
