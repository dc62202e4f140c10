/// The part of a text file that a model sees: numbered lines, bounded in number and length.
package struct FilePart: Sendable {
    private static let lineBytes = 2_000
    private static let partBytes = 40_000

    /// `1<TAB>text` lines from line `offset` on, with a closing note when the file goes on.
    package static func text(of content: String, offset: Int, limit: Int, isWhole: Bool) -> String {
        if content.isEmpty { return "[The file is empty.]" }
        var lines = content.linesByLF
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard offset <= lines.count else {
            return "[The file has \(lines.count) lines\(isWhole ? "" : " in its first part"); offset \(offset) is behind its end.]"
        }
        var result = ""
        var next = offset
        while next <= lines.count, next < offset + limit, result.utf8.count < partBytes {
            result += "\(next)\t\(cut(lines[next - 1]))\n"
            next += 1
        }
        if next <= lines.count {
            result += "[Lines \(offset) to \(next - 1) of \(lines.count)\(isWhole ? "" : " or more"). Go on with offset \(next).]"
        } else if !isWhole {
            result += "[The file is longer than what can be read at once. Use search, or execute with sed -n.]"
        }
        return result
    }

    private static func cut(_ line: Substring) -> String {
        let line = line.utf8.last == 0x0D ? Substring(line.unicodeScalars.dropLast()) : line
        guard line.utf8.count > lineBytes else { return String(line) }
        let head = OutputCut.wholeLines(head: Array(line.utf8.prefix(lineBytes)))
        return "\(String(decoding: head, as: UTF8.self)) [\(line.utf8.count - head.count) more bytes in this line]"
    }
}
