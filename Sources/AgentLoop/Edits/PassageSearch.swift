/// A place where the old text was found, and what goes there.
struct Passage: Equatable {
    /// Bytes of the text.
    var range: Range<Int>
    /// The first line, from 1.
    var line: Int
    var replacement: String
}

/// Finds the passages that an edit means, by one rule. Exact matches may begin anywhere; the tolerant rules compare whole lines.
struct PassageSearch {
    private let bytes: [UInt8]
    private let edit: TextEdit
    private static let newline = UInt8(ascii: "\n")

    init(text: String, edit: TextEdit) {
        bytes = Array(text.utf8)
        self.edit = edit
    }

    func passages(by rule: MatchRule) -> [Passage] {
        switch rule {
        case .exact: exact()
        case .trailingWhiteSpace, .indentation, .punctuation: byLines(rule)
        }
    }

    private func exact() -> [Passage] {
        let needle = Array(edit.old.utf8)
        let pattern = BytePattern(needle)
        var found: [Passage] = []
        var line = 1
        var start = 0
        while let index = pattern.firstIndex(in: bytes, from: start) {
            line += bytes[start..<index].count { $0 == Self.newline }
            found.append(Passage(range: index..<(index + needle.count), line: line, replacement: edit.new))
            line += needle.count { $0 == Self.newline }
            start = index + needle.count
        }
        return found
    }

    private func byLines(_ rule: MatchRule) -> [Passage] {
        var wanted = Array(edit.old.utf8).split(separator: Self.newline, omittingEmptySubsequences: false)
        let endsInNewline = wanted.last?.isEmpty == true
        if endsInNewline { wanted.removeLast() }
        guard !wanted.allSatisfy(LineText.isBlank) else { return [] }

        var lines = bytes.split(separator: Self.newline, omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        return LineSearch(wanted, rule: rule).hits(in: lines).map { hit in
            var end = lines[hit.lines.upperBound - 1].endIndex
            var replacement = hit.shift.applied(to: edit.new)
            if endsInNewline {
                if end < bytes.count {
                    end += 1
                } else if replacement.utf8.last == Self.newline {
                    // The file's last line has no line end: it gets none.
                    replacement.removeLast()
                }
            }
            let start = lines[hit.lines.lowerBound].startIndex
            return Passage(range: start..<end, line: hit.lines.lowerBound + 1, replacement: replacement)
        }
    }
}
