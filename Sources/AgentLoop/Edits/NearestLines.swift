/// Shows the model what the file has where its text was thought to be.
enum NearestLines {
    /// Every line of the one is compared with every line of the other: only the beginning of the passage is looked for, and only in
    /// so many lines of the file.
    private static let comparedLines = 8
    private static let searchedLines = 20_000
    private static let shownLines = 12
    private static let enough = 0.45

    static func explain(_ old: String, in text: String) -> String {
        let lines = text.linesByLF
        var wanted = old.linesByLF
        if wanted.count > 1, wanted.last?.isEmpty == true { wanted.removeLast() }
        if let hint = numberHint(wanted) { return "old_text does not occur in the file. \(hint)" }

        let sample = Array(wanted.prefix(comparedLines))
        guard let (start, likeness) = best(sample, in: lines), likeness >= enough else {
            return
                "old_text does not occur in the file, and nothing like it. Read the file again: it may have changed, or be another one."
        }
        let end = min(lines.count, start + min(wanted.count, shownLines))
        let shown = (start..<end).map { "\($0 + 1)\t\(lines[$0].prefix(400))" }.joined(separator: "\n")
        var message = "old_text does not occur in the file. The nearest lines are:\n\(shown)"
        if let difference = (0..<sample.count).first(where: {
            start + $0 >= lines.count || !isSame(sample[$0], lines[start + $0])
        }) {
            let there = start + difference < lines.count ? "`\(lines[start + difference].prefix(200))`" : "the end of the file"
            message +=
                "\nThe first difference is in line \(difference + 1) of old_text: you have `\(sample[difference].prefix(200))`, the file has \(there)."
        }
        return message
    }

    private static func isSame(_ a: Substring, _ b: Substring) -> Bool {
        LineText.withoutTrailingSpace(Array(a.utf8)[...]) == LineText.withoutTrailingSpace(Array(b.utf8)[...])
    }

    /// Models copy the line numbers that read_file shows.
    private static func numberHint(_ lines: [Substring]) -> String? {
        let full = lines.filter { !LineText.isBlank($0.utf8) }
        let numbered = full.filter { line in
            let digits = line.drop { $0 == " " }.prefix { $0.isASCII && $0.isNumber }
            return !digits.isEmpty && line.drop { $0 == " " }.dropFirst(digits.count).first == "\t"
        }
        return !full.isEmpty && numbered.count == full.count
            ? "Leave out the line numbers and tabs that read_file shows before each line." : nil
    }

    private static func best(_ wanted: [Substring], in lines: [Substring]) -> (Int, Double)? {
        guard !lines.isEmpty, !wanted.isEmpty else { return nil }
        // Each distinct wanted line against each line once; windows then only add up.
        let wantedPairs = wanted.map { Pairs($0) }
        let pairs = lines.prefix(searchedLines).map { Pairs($0) }
        var best: (Int, Double)?
        for start in pairs.indices {
            var total = 0.0
            for (offset, pair) in wantedPairs.enumerated() where start + offset < pairs.count {
                total += pair.likeness(to: pairs[start + offset])
                // What is left cannot make up for it any more.
                if let best, total + Double(wantedPairs.count - offset - 1) <= best.1 * Double(wantedPairs.count) { break }
            }
            let mean = total / Double(wantedPairs.count)
            if mean > (best?.1 ?? 0) { best = (start, mean) }
        }
        return best
    }
}

/// The pairs of neighbouring bytes of a line, without its indentation: their overlap says how alike two lines are (Dice).
private struct Pairs {
    private let sorted: [UInt16]

    init(_ line: Substring) {
        let bytes = Array(line.utf8.drop { $0 == 0x20 || $0 == 0x09 }.prefix(120))
        sorted = zip(bytes, bytes.dropFirst()).map { UInt16($0) << 8 | UInt16($1) }.sorted()
    }

    func likeness(to other: Pairs) -> Double {
        if sorted.isEmpty || other.sorted.isEmpty { return sorted.isEmpty && other.sorted.isEmpty ? 1 : 0 }
        // Lines of very different length are not worth a closer look: no overlap could make them alike.
        let most = 2 * Double(min(sorted.count, other.sorted.count)) / Double(sorted.count + other.sorted.count)
        if most < 0.3 { return 0 }
        var (a, b, common) = (0, 0, 0)
        while a < sorted.count, b < other.sorted.count {
            if sorted[a] == other.sorted[b] {
                common += 1
                a += 1
                b += 1
            } else if sorted[a] < other.sorted[b] {
                a += 1
            } else {
                b += 1
            }
        }
        return 2 * Double(common) / Double(sorted.count + other.sorted.count)
    }
}
