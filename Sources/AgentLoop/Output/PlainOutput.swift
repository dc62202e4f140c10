/// Turns the bytes that a command wrote into text for a model: no escape sequences, no overwritten progress lines, no NUL.
package enum PlainOutput {
    package static func text(of bytes: some Sequence<UInt8>) -> String {
        var reader = Reader()
        for byte in bytes { reader.feed(byte) }
        return String(decoding: reader.finish(), as: UTF8.self)
    }

    private struct Reader {
        private enum State { case text, escape, sequence, string, stringEscape }
        private var state = State.text
        private var result: [UInt8] = []
        private var lineStart = 0
        private var returned = false

        mutating func feed(_ byte: UInt8) {
            switch state {
            case .text: feedText(byte)
            case .escape:
                switch byte {
                case UInt8(ascii: "["): state = .sequence
                case UInt8(ascii: "]"), UInt8(ascii: "P"), UInt8(ascii: "_"), UInt8(ascii: "^"): state = .string
                case 0x20...0x2F: break
                default: state = .text
                }
            case .sequence:
                if (0x40...0x7E).contains(byte) { state = .text }
                // A sequence never spans lines: what looks so is text that was cut.
                if byte == 0x0A {
                    state = .text
                    feedText(byte)
                }
            case .string:
                if byte == 0x07 || byte == 0x0A { state = .text }
                if byte == 0x1B { state = .stringEscape }
            case .stringEscape:
                state = byte == UInt8(ascii: "\\") ? .text : .string
            }
        }

        private mutating func feedText(_ byte: UInt8) {
            switch byte {
            case 0x1B: state = .escape
            case 0x0D: returned = true
            case 0x0A:
                returned = false
                result.append(byte)
                lineStart = result.count
            case 0x08:
                if result.count > lineStart { result.removeLast() }
            case 0x00...0x08, 0x0B, 0x0E...0x1F, 0x7F: break
            default:
                if returned {
                    // The line is written anew: only its last state counts.
                    result.removeSubrange(lineStart...)
                    returned = false
                }
                result.append(byte)
            }
        }

        func finish() -> [UInt8] { result }
    }
}
