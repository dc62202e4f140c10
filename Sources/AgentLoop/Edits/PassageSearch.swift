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
        case .trailingWhiteSpace: byLines { LineText.withoutTrailingSpace($0) == LineText.withoutTrailingSpace($1) ? "" : nil }
        case .indentation: byLines { LineText.shift(from: $0, to: $1) }
        case .punctuation: byLines { LineText.shift(from: LineText.plainPunctuation($0), to: LineText.plainPunctuation($1)) }
        }
    }

    // MARK: Exact

    private func exact() -> [Passage] {
        let needle = Array(edit.old.utf8)
        guard needle.count <= bytes.count else { return [] }
        var found: [Passage] = []
        var line = 1
        var index = 0
        while index <= bytes.count - needle.count {
            if bytes[index] == needle[0], bytes[index..<(index + needle.count)].elementsEqual(needle) {
                found.append(Passage(range: index..<(index + needle.count), line: line, replacement: edit.new))
                line += needle.count { $0 == Self.newline }
                index += needle.count
            } else {
                if bytes[index] == Self.newline { line += 1 }
                index += 1
            }
        }
        return found
    }

    // MARK: Whole lines

    /// `compare(old line, file line)` answers how the file's line is shifted (`""`: not at all), nil when they differ.
    /// All lines of a passage that are not blank must be shifted alike.
    private func byLines(_ compare: (Substring, Substring) -> IndentationShift?) -> [Passage] {
        var oldLines = edit.old.linesByLF
        let endsInNewline = edit.old.utf8.last == Self.newline
        if endsInNewline { oldLines.removeLast() }
        guard oldLines.contains(where: { !LineText.isBlank($0) }) else { return [] }

        let spans = lineSpans()
        guard oldLines.count <= spans.count else { return [] }
        let lines = spans.map { Substring(decoding: bytes[$0], as: UTF8.self) }
        var found: [Passage] = []
        var first = 0
        while first + oldLines.count <= lines.count {
            if let shift = commonShift(oldLines, lines[first..<(first + oldLines.count)], compare) {
                let last = first + oldLines.count - 1
                var end = spans[last].upperBound
                var replacement = shift.applied(to: edit.new)
                if endsInNewline {
                    if end < bytes.count {
                        end += 1
                    } else if replacement.utf8.last == Self.newline {
                        // The file's last line has no line end: it gets none.
                        replacement.removeLast()
                    }
                }
                found.append(Passage(range: spans[first].lowerBound..<end, line: first + 1, replacement: replacement))
                first += oldLines.count
            } else {
                first += 1
            }
        }
        return found
    }

    private func commonShift(
        _ old: [Substring], _ lines: ArraySlice<Substring>, _ compare: (Substring, Substring) -> IndentationShift?
    ) -> IndentationShift? {
        var common: IndentationShift?
        for (oldLine, line) in zip(old, lines) {
            if LineText.isBlank(oldLine) || LineText.isBlank(line) {
                guard LineText.isBlank(oldLine), LineText.isBlank(line) else { return nil }
                continue
            }
            guard let shift = compare(oldLine, line) else { return nil }
            if let common, common != shift { return nil }
            common = shift
        }
        return common
    }

    private func lineSpans() -> [Range<Int>] {
        var spans: [Range<Int>] = []
        var start = 0
        for (index, byte) in bytes.enumerated() where byte == Self.newline {
            spans.append(start..<index)
            start = index + 1
        }
        if start < bytes.count { spans.append(start..<bytes.count) }
        return spans
    }
}
