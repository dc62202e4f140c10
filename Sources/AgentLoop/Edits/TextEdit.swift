/// One replacement in a text file, as a model asks for it.
package struct TextEdit: Sendable, Equatable {
    package var old: String
    package var new: String
    package var replaceAll: Bool

    package init(old: String, new: String, replaceAll: Bool = false) {
        self.old = old
        self.new = new
        self.replaceAll = replaceAll
    }
}

/// How the passage was found: the first rule that finds anything decides.
package enum MatchRule: String, Sendable, CaseIterable, Codable {
    case exact
    case trailingWhiteSpace
    case indentation
    case punctuation

    /// What the model is told when its text was not quite the file's; nil when it was.
    package var remark: String? {
        switch self {
        case .exact: nil
        case .trailingWhiteSpace: "old_text matched ignoring white space at line ends"
        case .indentation: "old_text matched with another indentation; new_text was shifted alike"
        case .punctuation: "old_text matched with typographic quotes, dashes or spaces read as plain ones"
        }
    }
}

/// A file after an edit.
package struct EditedText: Sendable, Equatable {
    package var text: String
    package var rule: MatchRule
    package var replacements: Int
    /// Lines, from 1, of the first replacement in the new text; empty at its place when text was deleted.
    package var changedLines: Range<Int>
}

/// Why an edit was not made, in words for the model.
package struct EditFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package var message: String
    package var description: String { message }
}

extension TextEdit {
    /// Applies the edit to a file's text. Line ends and a byte order mark stay as the file has them.
    ///
    /// - Throws: `EditFailure`: nothing matched (with the nearest lines), several passages matched (with their number), no change.
    package func apply(to original: String) throws(EditFailure) -> EditedText {
        guard !old.isEmpty else {
            throw EditFailure(message: "old_text is empty. Give the passage to replace, or use write_file to write the whole file.")
        }
        guard Array(old.utf8) != Array(new.utf8) else {
            throw EditFailure(message: "old_text and new_text are the same: there is nothing to change.")
        }
        let form = TextForm(of: original)
        let text = form.plain(original)
        let plain = TextEdit(old: form.plain(old), new: form.plain(new), replaceAll: replaceAll)

        for rule in MatchRule.allCases {
            let found = PassageSearch(text: text, edit: plain).passages(by: rule)
            if found.isEmpty { continue }
            guard found.count == 1 || replaceAll else {
                let lines = found.prefix(8).map { "\($0.line)" }.joined(separator: ", ")
                throw EditFailure(
                    message: "old_text occurs \(found.count) times (lines \(lines)\(found.count > 8 ? ", …" : "")). "
                        + "Take in more of the lines around it, so that it is unique, or set replace_all.")
            }
            return Self.replace(found, in: text, rule: rule, form: form)
        }
        throw EditFailure(message: NearestLines.explain(plain.old, in: text))
    }

    private static func replace(_ passages: [Passage], in text: String, rule: MatchRule, form: TextForm) -> EditedText {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var end = 0
        var firstChange = 0..<0
        for (number, passage) in passages.enumerated() {
            result += bytes[end..<passage.range.lowerBound]
            let start = result.count
            result += passage.replacement.utf8
            if number == 0 { firstChange = start..<result.count }
            end = passage.range.upperBound
        }
        result += bytes[end...]
        let newline = UInt8(ascii: "\n")
        let firstLine = result[..<firstChange.lowerBound].count { $0 == newline } + 1
        let inserted = result[firstChange]
        var lines = inserted.count { $0 == newline }
        if let last = inserted.last, last != newline { lines += 1 }
        return EditedText(
            text: form.restored(String(decoding: result, as: UTF8.self)), rule: rule, replacements: passages.count,
            changedLines: firstLine..<(firstLine + lines))
    }
}
