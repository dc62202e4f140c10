import Foundation

/// Lines as bytes, without what models get wrong in them. `String` would take different spellings of one character for equal.
enum LineText {
    static func isBlank(_ line: some Sequence<UInt8>) -> Bool { line.allSatisfy { isIndentation($0) || $0 == 0x0D } }

    static func withoutTrailingSpace(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        while let last = line.last, isIndentation(last) || last == 0x0D { line.removeLast() }
        return line
    }

    static func indentation(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> { line.prefix(while: isIndentation) }

    private static func isIndentation(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// With typographic quotes, dashes and spaces as plain ones, and one spelling for each character, so that a composed and a
    /// decomposed umlaut are the same.
    static func plainPunctuation(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard line.contains(where: { $0 >= 0x80 }) else { return line }
        var result = String.UnicodeScalarView()
        for scalar in String(decoding: line, as: UTF8.self).precomposedStringWithCanonicalMapping.unicodeScalars {
            switch scalar.value {
            case 0x2018, 0x2019, 0x201A, 0x201B, 0x2032: result.append("'")
            case 0x201C, 0x201D, 0x201E, 0x201F, 0x2033, 0xAB, 0xBB: result.append("\"")
            case 0x2010...0x2015, 0x2212: result.append("-")
            case 0x2026: result.append(contentsOf: "...".unicodeScalars)
            case 0xA0, 0x2000...0x200A, 0x202F, 0x205F, 0x3000: result.append(" ")
            case 0x200B...0x200D, 0x2060, 0xFEFF: break
            default: result.append(scalar)
            }
        }
        return Array(String(result).utf8)[...]
    }
}

extension String {
    /// Lines by LF alone, empty ones kept: `Character` would take CRLF for one separator.
    package var linesByLF: [Substring] { self[...].linesByLF }
}

extension Substring {
    package var linesByLF: [Substring] {
        utf8.split(separator: 0x0A, omittingEmptySubsequences: false).map { Substring($0) }
    }
}
