/// Finds runs of whole lines by a tolerant rule. Each line's content becomes a number once, so that a comparison costs next to nothing.
struct LineSearch {
    struct Hit: Equatable {
        /// Of the text's lines.
        var lines: Range<Int>
        var shift: IndentationShift
    }

    private struct Lines {
        /// Numbers of the contents: 0 of a blank line, -1 of what is not looked for.
        var contents: [Int] = []
        var indentations: [ArraySlice<UInt8>] = []
    }

    /// Only lines that repeat themselves thousands of times come to as much. Nothing is found then: such a text has to be given exactly.
    private static let mostComparisons = 5_000_000
    /// What comparing indentations costs, in comparisons of contents.
    private static let shiftCost = 20

    private let rule: MatchRule
    private var numbers: [ArraySlice<UInt8>: Int] = [[]: 0]
    private var wanted = Lines()

    /// - Parameter wanted: not all of them blank.
    init(_ wanted: [ArraySlice<UInt8>], rule: MatchRule) {
        self.rule = rule
        for line in wanted {
            let (content, indentation) = parts(line)
            let number = numbers[content] ?? numbers.count
            numbers[content] = number
            self.wanted.contents.append(number)
            self.wanted.indentations.append(indentation)
        }
    }

    /// One behind the other, the first first. Lines that are not blank are shifted alike within a hit.
    func hits(in text: [ArraySlice<UInt8>]) -> [Hit] {
        var lines = Lines()
        for line in text {
            let (content, indentation) = parts(line)
            lines.contents.append(numbers[content] ?? -1)
            lines.indentations.append(indentation)
        }
        let count = wanted.contents.count
        var hits: [Hit] = []
        var start = 0
        var comparisons = 0
        while start + count <= text.count, comparisons < Self.mostComparisons {
            let same = sameContents(lines, start)
            comparisons += same + 1
            if same == count, let shift = commonShift(lines, start, &comparisons) {
                hits.append(Hit(lines: start..<(start + count), shift: shift))
                start += count
            } else {
                start += 1
            }
        }
        return comparisons < Self.mostComparisons ? hits : []
    }

    private func sameContents(_ lines: Lines, _ start: Int) -> Int {
        var count = 0
        while count < wanted.contents.count, wanted.contents[count] == lines.contents[start + count] { count += 1 }
        return count
    }

    private func commonShift(_ lines: Lines, _ start: Int, _ comparisons: inout Int) -> IndentationShift? {
        var common: IndentationShift?
        for (offset, content) in wanted.contents.enumerated() where content != 0 {
            comparisons += Self.shiftCost
            let shift = IndentationShift(from: wanted.indentations[offset], to: lines.indentations[start + offset])
            guard let shift, shift == common ?? shift else { return nil }
            common = shift
        }
        return common
    }

    /// What the rule compares, empty for a blank line; and the indentation, empty when it is compared as well.
    private func parts(_ line: ArraySlice<UInt8>) -> (content: ArraySlice<UInt8>, indentation: ArraySlice<UInt8>) {
        let line = LineText.withoutTrailingSpace(rule == .punctuation ? LineText.plainPunctuation(line) : line)
        switch rule {
        case .exact, .trailingWhiteSpace: return (line, [])
        case .indentation, .punctuation:
            let indentation = LineText.indentation(line)
            return (line.dropFirst(indentation.count), indentation)
        }
    }
}
