/// Undoes JSON's escapes in a text that comes in pieces, and remembers where each byte came from: what is found in the text can then
/// be taken out of the bytes as they were written.
package struct EscapeMap: Sendable {
    private struct Mark: Sendable {
        var decoded: Int
        var raw: Int
        /// The bytes from here to the next mark are one escape; otherwise they stand for themselves.
        var isEscape: Bool
    }

    private var marks = [Mark(decoded: 0, raw: 0, isEscape: false)]
    /// An escape whose end has not come, and where it began.
    private var open: [UInt8] = []
    private var high: (unit: UInt32, start: Int)?
    /// How much has come out, and how much has gone in.
    private(set) var decodedEnd = 0
    private(set) var rawEnd = 0

    package init() {}

    /// - Returns: the text of the piece, as far as it is certain.
    package mutating func feed(_ raw: UnsafeRawBufferPointer) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(raw.count)
        var position = 0
        while position < raw.count {
            let byte = raw[position]
            if open.isEmpty, byte != UInt8(ascii: "\\") {
                endHigh(&output)
                var end = position + 1
                while end < raw.count, raw[end] != UInt8(ascii: "\\") { end += 1 }
                output.append(contentsOf: raw[position..<end])
                decodedEnd += end - position
                rawEnd += end - position
                position = end
                continue
            }
            open.append(byte)
            rawEnd += 1
            position += 1
            guard open.count >= 2 else { continue }
            if open[1] != UInt8(ascii: "u") {
                take(Self.single(open[1]), start: rawEnd - 2, &output)
            } else if open.count == 6 {
                take(unit: Self.unit(open[2...]), start: rawEnd - 6, &output)
            }
        }
        return output
    }

    /// The text is over: an escape without its end stands for itself.
    package mutating func finish() -> [UInt8] {
        var output: [UInt8] = []
        endHigh(&output)
        output.append(contentsOf: open)
        decodedEnd += open.count
        open = []
        return output
    }

    /// Where bytes of the text came from; an escape is taken as a whole.
    package func raw(_ range: Range<Int>) -> Range<Int> {
        let first = marks[place(of: range.lowerBound)]
        let start = first.isEscape ? first.raw : first.raw + range.lowerBound - first.decoded
        if range.isEmpty { return start..<start }
        let last = place(of: range.upperBound - 1)
        let end =
            marks[last].isEscape
            ? (last + 1 < marks.count ? marks[last + 1].raw : rawEnd) : marks[last].raw + range.upperBound - marks[last].decoded
        return start..<max(start, end)
    }

    /// Up to where the written bytes are decided when the text is decided up to `decoded`.
    package func rawDecided(_ decoded: Int) -> Int {
        if decoded >= decodedEnd { return rawEnd - open.count - (high == nil ? 0 : 6) }
        let mark = marks[place(of: decoded)]
        return mark.isEscape ? mark.raw : mark.raw + decoded - mark.decoded
    }

    /// What lies before is not asked about any more.
    package mutating func forget(before decoded: Int) {
        let kept = place(of: min(decoded, decodedEnd))
        if kept > 256 { marks.removeFirst(kept) }
    }

    // MARK: Parts

    /// The last mark that is not behind the place.
    private func place(of decoded: Int) -> Int {
        var (low, high) = (0, marks.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if marks[middle].decoded <= decoded { low = middle } else { high = middle - 1 }
        }
        return low
    }

    private mutating func take(_ bytes: [UInt8], start: Int, _ output: inout [UInt8]) {
        endHigh(&output)
        emit(bytes, start: start, &output)
    }

    private mutating func emit(_ bytes: [UInt8], start: Int, _ output: inout [UInt8]) {
        // Two marks at one place of the text: the later one counts.
        marks.append(Mark(decoded: decodedEnd, raw: start, isEscape: true))
        output.append(contentsOf: bytes)
        decodedEnd += bytes.count
        open = []
        marks.append(Mark(decoded: decodedEnd, raw: rawEnd, isEscape: false))
    }

    private mutating func take(unit: UInt32, start: Int, _ output: inout [UInt8]) {
        if let first = high, (0xDC00..<0xE000).contains(unit) {
            high = nil
            let scalar = 0x10000 + ((first.unit - 0xD800) << 10) + (unit - 0xDC00)
            return emit(Array(String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8), start: first.start, &output)
        }
        endHigh(&output)
        if (0xD800..<0xDC00).contains(unit) {
            high = (unit, start)
            open = []
        } else {
            emit(Array(String(Character(Unicode.Scalar(unit) ?? "\u{FFFD}")).utf8), start: start, &output)
        }
    }

    /// The first half of a pair whose second one did not come.
    private mutating func endHigh(_ output: inout [UInt8]) {
        guard let first = high else { return }
        high = nil
        let (rest, end) = (open, rawEnd)
        rawEnd = first.start + 6
        emit([0xEF, 0xBF, 0xBD], start: first.start, &output)
        (open, rawEnd) = (rest, end)
    }

    private static func single(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case UInt8(ascii: "n"): [0x0A]
        case UInt8(ascii: "t"): [0x09]
        case UInt8(ascii: "r"): [0x0D]
        case UInt8(ascii: "b"): [0x08]
        case UInt8(ascii: "f"): [0x0C]
        default: [byte]
        }
    }

    private static func unit(_ digits: ArraySlice<UInt8>) -> UInt32 {
        digits.reduce(0) { value, digit in
            switch digit {
            case 0x30...0x39: value << 4 | UInt32(digit - 0x30)
            case 0x41...0x46: value << 4 | UInt32(digit - 0x37)
            case 0x61...0x66: value << 4 | UInt32(digit - 0x57)
            // No such escape: it stands for what cannot be read.
            default: value << 4 | 0xFFFD
            }
        } & 0xFFFF
    }
}
