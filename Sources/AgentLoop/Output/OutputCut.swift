/// What a model sees of a long output: its head and its tail. The notice stands before the head, where a second cut cannot eat it.
///
/// Every character that is kept is sent again with each later step, so the bounds are money.
package struct OutputCut: Sendable {
    /// Bytes kept at either end.
    package var headBytes: Int
    package var tailBytes: Int

    package init(headBytes: Int = 6_000, tailBytes: Int = 10_000) {
        self.headBytes = headBytes
        self.tailBytes = tailBytes
    }

    package static let command = OutputCut()

    package var collector: HeadTail { HeadTail(head: headBytes, tail: tailBytes) }

    /// The text for the model; `more` says how to see the rest, e.g. with which process id.
    package func text(of output: HeadTail, more: String) -> String {
        if let whole = output.whole { return PlainOutput.text(of: whole) }
        let head = PlainOutput.text(of: Self.wholeLines(head: output.first))
        let tail = PlainOutput.text(of: Self.wholeLines(tail: output.last))
        return """
            [\(output.total) bytes of output; only the first \(head.utf8.count) and the last \(tail.utf8.count) are shown. \(more)]
            \(head.hasSuffix("\n") ? String(head.dropLast()) : head)
            […]
            \(tail)
            """
    }

    /// Ends at a line border when there is one in the second half, else at a character border.
    static func wholeLines(head bytes: [UInt8]) -> [UInt8] {
        if let newline = bytes.lastIndex(of: 0x0A), newline >= bytes.count / 2 { return Array(bytes[...newline]) }
        var end = bytes.count
        // Not in the middle of a character: back over continuation bytes and an unfinished first byte.
        while end > 0, bytes.count - end < 3, bytes[end - 1] & 0xC0 == 0x80 { end -= 1 }
        guard end > 0 else { return bytes }
        let first = bytes[end - 1]
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1
        return end - 1 + length <= bytes.count ? bytes : Array(bytes[..<(end - 1)])
    }

    static func wholeLines(tail bytes: [UInt8]) -> [UInt8] {
        if let newline = bytes.firstIndex(of: 0x0A), newline < bytes.count / 2 { return Array(bytes[(newline + 1)...]) }
        return Array(bytes.drop { $0 & 0xC0 == 0x80 })
    }
}
