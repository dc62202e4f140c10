import Foundation

/// How a passage in the file is indented compared with the text that was looked for.
enum IndentationShift: Equatable, ExpressibleByStringLiteral {
    case deeper(String)
    case shallower(String)

    init(stringLiteral value: String) { self = .deeper(value) }

    /// The new text, indented as the file is; blank lines stay as they are.
    func applied(to text: String) -> String {
        switch self {
        case .deeper(""), .shallower(""): return text
        case .deeper(let prefix):
            return text.linesByLF.map { LineText.isBlank($0) ? String($0) : prefix + $0 }.joined(separator: "\n")
        case .shallower(let prefix):
            return text.linesByLF.map { line in
                let scalars = line.unicodeScalars
                return scalars.starts(with: prefix.unicodeScalars)
                    ? String(scalars.dropFirst(prefix.unicodeScalars.count)) : String(line)
            }.joined(separator: "\n")
        }
    }
}

/// Comparing lines without what models get wrong in them.
enum LineText {
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || scalar == "\t" || scalar == "\r" }

    static func isBlank(_ line: Substring) -> Bool { line.unicodeScalars.allSatisfy(isSpace) }

    /// As bytes: `String` would take different spellings of one character for equal.
    static func withoutTrailingSpace(_ line: Substring) -> [UInt8] {
        var bytes = Array(line.utf8)
        while let last = bytes.last, last == 0x20 || last == 0x09 || last == 0x0D { bytes.removeLast() }
        return bytes
    }

    /// How `line` is indented compared with `old`, when they differ in nothing else; nil when they do.
    static func shift(from old: Substring, to line: Substring) -> IndentationShift? {
        let (oldIndent, oldRest) = parts(old)
        let (indent, rest) = parts(line)
        guard oldRest == rest else { return nil }
        if indent.hasSuffix(oldIndent) { return .deeper(String(indent.dropLast(oldIndent.count))) }
        if oldIndent.hasSuffix(indent) { return .shallower(String(oldIndent.dropLast(indent.count))) }
        return nil
    }

    private static func parts(_ line: Substring) -> (indent: String, rest: [UInt8]) {
        let indent = line.unicodeScalars.prefix { $0 == " " || $0 == "\t" }
        return (String(indent), withoutTrailingSpace(Substring(line.unicodeScalars.dropFirst(indent.count))))
    }

    static func plainPunctuation(_ line: Substring) -> Substring {
        guard line.utf8.contains(where: { $0 >= 0x80 }) else { return line }
        var result = String.UnicodeScalarView()
        for scalar in line.composedScalars {
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
        return Substring(String(result))
    }
}

extension Substring {
    /// One spelling for each character, so that a composed and a decomposed umlaut are the same.
    fileprivate var composedScalars: String.UnicodeScalarView { String(self).precomposedStringWithCanonicalMapping.unicodeScalars }
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
