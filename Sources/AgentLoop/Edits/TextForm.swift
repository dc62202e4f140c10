import Foundation

/// What an edit must leave alone: the byte order mark, and CRLF line ends when all are so.
package struct TextForm: Sendable, Equatable {
    package var hasMark: Bool
    package var endsInCRLF: Bool

    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    package init(of text: String) {
        let bytes = text.utf8
        hasMark = bytes.starts(with: Self.mark)
        var newlines = 0
        var pairs = 0
        var previous: UInt8 = 0
        for byte in bytes {
            if byte == 0x0A {
                newlines += 1
                if previous == 0x0D { pairs += 1 }
            }
            previous = byte
        }
        endsInCRLF = newlines > 0 && newlines == pairs
    }

    /// The text without mark, and with LF alone when the file is CRLF throughout.
    package func plain(_ text: String) -> String {
        var bytes = Array(text.utf8)
        if hasMark, bytes.starts(with: Self.mark) { bytes.removeFirst(3) }
        guard endsInCRLF else { return String(decoding: bytes, as: UTF8.self) }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        for (index, byte) in bytes.enumerated() where !(byte == 0x0D && index + 1 < bytes.count && bytes[index + 1] == 0x0A) {
            result.append(byte)
        }
        return String(decoding: result, as: UTF8.self)
    }

    package func restored(_ plain: String) -> String {
        guard hasMark || endsInCRLF else { return plain }
        var result: [UInt8] = hasMark ? Self.mark : []
        for byte in plain.utf8 {
            if byte == 0x0A, endsInCRLF { result.append(0x0D) }
            result.append(byte)
        }
        return String(decoding: result, as: UTF8.self)
    }
}
