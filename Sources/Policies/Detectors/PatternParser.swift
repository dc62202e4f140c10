import Core

/// Reads a pattern; see `PatternProgram` for what there is.
struct PatternParser {
    private let bytes: [UInt8]
    private let pattern: String
    private var at = 0
    private var depth = 0

    static let longest = 500

    init(_ pattern: String) {
        self.pattern = pattern
        bytes = Array(pattern.utf8)
    }

    mutating func parse() throws -> PatternProgram.Node {
        guard (1...Self.longest).contains(bytes.count) else {
            throw AppError(.badRequest, "A pattern has 1 to \(Self.longest) bytes, not \(bytes.count).", field: "pattern")
        }
        let node = try choice()
        if at < bytes.count { throw failure("there is a ')' too many") }
        return node
    }

    private mutating func choice() throws -> PatternProgram.Node {
        depth += 1
        defer { depth -= 1 }
        if depth > 20 { throw failure("groups are nested deeper than 20 levels") }
        var branches = [try sequence()]
        while take("|") { branches.append(try sequence()) }
        return branches.count == 1 ? branches[0] : .choice(branches)
    }

    private mutating func sequence() throws -> PatternProgram.Node {
        var nodes: [PatternProgram.Node] = []
        while at < bytes.count, bytes[at] != UInt8(ascii: "|"), bytes[at] != UInt8(ascii: ")") { nodes.append(try repeated()) }
        return .sequence(nodes)
    }

    private mutating func repeated() throws -> PatternProgram.Node {
        let node = try atom()
        let result: PatternProgram.Node
        if take("?") {
            result = .repeated(node, 0, 1)
        } else if take("*") {
            result = .repeated(node, 0, nil)
        } else if take("+") {
            result = .repeated(node, 1, nil)
        } else if take("{") {
            let least = try number()
            var most: Int? = least
            if take(",") { most = peek == UInt8(ascii: "}") ? nil : try number() }
            guard take("}") else { throw failure("'}' is expected") }
            guard most.map({ $0 >= least }) ?? true else { throw failure("the repetition ends before it begins") }
            result = .repeated(node, least, most)
        } else {
            return node
        }
        if let next = peek, "?*+{".utf8.contains(next) { throw failure("a repetition cannot be repeated: use a group") }
        return result
    }

    private mutating func atom() throws -> PatternProgram.Node {
        guard let byte = peek else { throw failure("something is expected at the end") }
        at += 1
        switch byte {
        case UInt8(ascii: "("):
            if take("?"), !take(":") { throw failure("of groups with '?' there is only '(?:…)'") }
            let inner = try choice()
            guard take(")") else { throw failure("')' is missing") }
            return inner
        case UInt8(ascii: "["): return .set(try set())
        case UInt8(ascii: "."): return .set(ByteSet("\n").inverted)
        case UInt8(ascii: "\\"): return .set(try escape())
        case UInt8(ascii: "^"), UInt8(ascii: "$"): throw failure("there are no anchors: a pattern is found wherever it stands")
        case UInt8(ascii: "?"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "{"): throw failure("there is nothing to repeat")
        default:
            // A character of several bytes is one thing to repeat.
            var character = [Self.single(byte)]
            while byte >= 0xC0, let next = peek, next & 0xC0 == 0x80 {
                character.append(Self.single(next))
                at += 1
            }
            return character.count == 1 ? character[0] : .sequence(character)
        }
    }

    private static func single(_ byte: UInt8) -> PatternProgram.Node {
        var set = ByteSet()
        set.insert(byte)
        return .set(set)
    }

    private mutating func set() throws -> ByteSet {
        let isInverted = take("^")
        var set = ByteSet()
        var isFirst = true
        while let byte = peek, byte != UInt8(ascii: "]") || isFirst {
            isFirst = false
            at += 1
            if byte == UInt8(ascii: "\\") {
                set = set + (try escape())
                continue
            }
            guard byte < 128 else { throw failure("a set holds ASCII alone") }
            var last = byte
            if peek == UInt8(ascii: "-"), at + 1 < bytes.count, bytes[at + 1] != UInt8(ascii: "]") {
                last = bytes[at + 1]
                at += 2
                guard last >= byte, last < 128 else { throw failure("the range ends before it begins") }
            }
            for byte in byte...last { set.insert(byte) }
        }
        guard take("]") else { throw failure("']' is missing") }
        return isInverted ? set.inverted : set
    }

    private mutating func escape() throws -> ByteSet {
        guard let byte = peek else { throw failure("something is expected behind '\\'") }
        at += 1
        let word = ByteSet.base62 + ByteSet("_")
        let space = ByteSet(" \t\r\n")
        switch byte {
        case UInt8(ascii: "d"): return .digits
        case UInt8(ascii: "D"): return ByteSet.digits.inverted
        case UInt8(ascii: "w"): return word
        case UInt8(ascii: "W"): return word.inverted
        case UInt8(ascii: "s"): return space
        case UInt8(ascii: "S"): return space.inverted
        case UInt8(ascii: "n"): return ByteSet("\n")
        case UInt8(ascii: "t"): return ByteSet("\t")
        case UInt8(ascii: "r"): return ByteSet("\r")
        default:
            guard byte > 0x20, byte < 127, !ByteSet.base62.contains(byte) else {
                throw failure("this letter means nothing behind '\\'")
            }
            var set = ByteSet()
            set.insert(byte)
            return set
        }
    }

    private mutating func number() throws -> Int {
        var value = 0
        let start = at
        while let byte = peek, ByteSet.digits.contains(byte), at - start < 4 {
            value = value * 10 + Int(byte) - 48
            at += 1
        }
        guard at > start, value <= PatternProgram.longestMatch else {
            throw failure("a number up to \(PatternProgram.longestMatch) is expected")
        }
        return value
    }

    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func take(_ character: Character) -> Bool {
        guard peek == character.asciiValue else { return false }
        at += 1
        return true
    }

    private func failure(_ what: String) -> AppError {
        AppError(.badRequest, "The pattern '\(pattern.prefix(80))' cannot be used: at character \(at), \(what).", field: "pattern")
    }
}
