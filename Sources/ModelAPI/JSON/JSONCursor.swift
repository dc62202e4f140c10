import Glibc

/// Why a text is no JSON, and at which byte. A leaf error: `RequestSummary` and `AnswerReader` turn it into their own.
struct JSONFailure: Error, Equatable {
    var offset: Int
    var expected: String
}

/// A pull parser over bytes that it does not own: reads what is asked for and skips the rest at the speed of `memchr`.
///
/// Strict about structure, so that no other reader of the same bytes can see other fields than this one; lenient inside strings
/// (control characters, broken UTF-8). It never recurses, reads no byte beyond `end`, and copies nothing: what it hands out lives
/// as long as the bytes do.
struct JSONCursor {
    /// Deeper documents are refused; no request of a real client comes near.
    static let deepest = 120

    let base: UnsafePointer<UInt8>
    private(set) var at: Int
    let end: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? Self.nothing
        at = 0
        end = bytes.count
    }

    /// A cursor over a part of the same bytes, e.g. a value that was skipped before.
    init(_ other: JSONCursor, in range: Range<Int>) {
        base = other.base
        at = range.lowerBound
        end = range.upperBound
    }

    /// What an empty buffer without an address is read from: nothing ever is, as the end is reached before.
    private nonisolated(unsafe) static let nothing = UnsafePointer(UnsafeMutablePointer<UInt8>.allocate(capacity: 1))

    // MARK: Looking

    /// The first byte of the next token, 0 at the end.
    mutating func peek() -> UInt8 {
        while at < end {
            let byte = base[at]
            if byte > 0x20 || !(byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09) { return byte }
            at &+= 1
        }
        return 0
    }

    var isAtEnd: Bool {
        mutating get {
            _ = peek()
            return at >= end
        }
    }

    mutating func expectEnd() throws(JSONFailure) {
        if !isAtEnd { throw failure("the end of the text") }
    }

    func failure(_ expected: String) -> JSONFailure { JSONFailure(offset: at, expected: expected) }

    // MARK: Objects and arrays

    /// Where a walk through an object or array stands.
    struct Walk {
        fileprivate var isFirst = true
    }

    mutating func enterObject() throws(JSONFailure) -> Walk {
        try expect(UInt8(ascii: "{"), "an object")
        return Walk()
    }

    /// The next key; the caller then reads or skips its value. Nil behind the closing brace.
    mutating func nextKey(_ walk: inout Walk) throws(JSONFailure) -> JSONString? {
        let byte = peek()
        if byte == UInt8(ascii: "}") {
            at &+= 1
            return nil
        }
        if walk.isFirst { walk.isFirst = false } else { try expect(UInt8(ascii: ","), "',' or '}'") }
        let key = try string()
        try expect(UInt8(ascii: ":"), "':'")
        return key
    }

    mutating func enterArray() throws(JSONFailure) -> Walk {
        try expect(UInt8(ascii: "["), "an array")
        return Walk()
    }

    /// Whether another element follows, which the caller then reads or skips.
    mutating func nextElement(_ walk: inout Walk) throws(JSONFailure) -> Bool {
        if peek() == UInt8(ascii: "]") {
            // `[1,]` is refused because after a comma a value must follow; only `[` and a value may stand before `]`.
            at &+= 1
            return false
        }
        if walk.isFirst {
            walk.isFirst = false
        } else {
            try expect(UInt8(ascii: ","), "',' or ']'")
            if peek() == UInt8(ascii: "]") { throw failure("a value") }
        }
        return true
    }

    private mutating func expect(_ byte: UInt8, _ name: String) throws(JSONFailure) {
        guard peek() == byte, at < end else { throw failure(name) }
        at &+= 1
    }

    // MARK: Strings

    mutating func string() throws(JSONFailure) -> JSONString {
        guard peek() == UInt8(ascii: "\""), at < end else { throw failure("a string") }
        let start = at &+ 1
        // Most strings are short: a few bytes by hand cost less than two calls of memchr.
        var position = start
        let near = min(end, start &+ 24)
        while position < near {
            let byte = base[position]
            if byte == UInt8(ascii: "\"") {
                at = position &+ 1
                return JSONString(start: base + start, count: position &- start, isEscaped: false)
            }
            if byte == UInt8(ascii: "\\") { break }
            position &+= 1
        }
        while let found = memchr(base + position, 0x22, end &- position) {
            let quote = UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - base
            var backslashes = 0
            while quote &- backslashes > start, base[quote &- backslashes &- 1] == UInt8(ascii: "\\") { backslashes &+= 1 }
            position = quote &+ 1
            if backslashes & 1 == 0 {
                at = position
                let count = quote &- start
                return JSONString(start: base + start, count: count, isEscaped: memchr(base + start, 0x5C, count) != nil)
            }
        }
        at = end
        throw failure("'\"' at the end of a string")
    }

    // MARK: Scalars; nil when the next value is of another kind, which is then skipped

    mutating func optionalString() throws(JSONFailure) -> JSONString? {
        if peek() == UInt8(ascii: "\"") { return try string() }
        try skipValue()
        return nil
    }

    mutating func optionalBool() throws(JSONFailure) -> Bool? {
        let byte = peek()
        try skipValue()
        return byte == UInt8(ascii: "t") ? true : byte == UInt8(ascii: "f") ? false : nil
    }

    /// A whole number, also when written as `12.0` or `1e3`; nil for anything else and beyond ±10^15.
    mutating func optionalInt() throws(JSONFailure) -> Int? {
        _ = peek()
        let start = at
        try skipValue()
        guard base[start] == UInt8(ascii: "-") || isDigit(base[start]), at &- start <= 40 else { return nil }
        var value = 0
        var position = start
        let isNegative = base[start] == UInt8(ascii: "-")
        if isNegative { position &+= 1 }
        while position < at, isDigit(base[position]) {
            value = value &* 10 &+ Int(base[position] &- 48)
            if value > 1_000_000_000_000_000 { return nil }
            position &+= 1
        }
        if position == at { return isNegative ? -value : value }
        let text = String(decoding: UnsafeBufferPointer(start: base + start, count: at &- start), as: UTF8.self)
        guard let number = Double(text), number.magnitude <= 1e15, number == number.rounded() else { return nil }
        return Int(number)
    }

    /// Whether the next value is `null`, which is then skipped.
    mutating func skipNull() throws(JSONFailure) -> Bool {
        guard peek() == UInt8(ascii: "n") else { return false }
        try skipValue()
        return true
    }

    // MARK: Skipping

    /// The bytes of the next value, which is skipped.
    mutating func range() throws(JSONFailure) -> Range<Int> {
        _ = peek()
        let start = at
        try skipValue()
        return start..<at
    }

    mutating func skipValue() throws(JSONFailure) {
        var kinds: UInt128 = 0
        var depth = 0
        while true {
            // A value.
            switch peek() {
            case UInt8(ascii: "\""): _ = try string()
            case UInt8(ascii: "{"):
                at &+= 1
                if peek() == UInt8(ascii: "}") {
                    at &+= 1
                } else {
                    depth &+= 1
                    kinds = kinds &<< 1 | 1
                    if depth > Self.deepest { throw failure("no more than \(Self.deepest) levels") }
                    _ = try string()
                    try expect(UInt8(ascii: ":"), "':'")
                    continue
                }
            case UInt8(ascii: "["):
                at &+= 1
                if peek() == UInt8(ascii: "]") {
                    at &+= 1
                } else {
                    depth &+= 1
                    kinds = kinds &<< 1
                    if depth > Self.deepest { throw failure("no more than \(Self.deepest) levels") }
                    continue
                }
            case UInt8(ascii: "t"): try literal("true")
            case UInt8(ascii: "f"): try literal("false")
            case UInt8(ascii: "n"): try literal("null")
            default: try number()
            }
            // What may follow it.
            while true {
                if depth == 0 { return }
                let byte = peek()
                if byte == UInt8(ascii: ",") {
                    at &+= 1
                    if kinds & 1 == 1 {
                        _ = try string()
                        try expect(UInt8(ascii: ":"), "':'")
                    }
                    break
                }
                guard byte == (kinds & 1 == 1 ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                    throw failure(kinds & 1 == 1 ? "',' or '}'" : "',' or ']'")
                }
                at &+= 1
                kinds = kinds &>> 1
                depth &-= 1
            }
        }
    }

    private mutating func literal(_ text: StaticString) throws(JSONFailure) {
        let count = text.utf8CodeUnitCount
        guard end &- at >= count, memcmp(base + at, text.utf8Start, count) == 0 else { throw failure("a value") }
        at &+= count
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    private mutating func number() throws(JSONFailure) {
        if at < end, base[at] == UInt8(ascii: "-") { at &+= 1 }
        guard at < end, isDigit(base[at]) else { throw failure("a value") }
        if base[at] == UInt8(ascii: "0") { at &+= 1 } else { digits() }
        if at < end, base[at] == UInt8(ascii: ".") {
            at &+= 1
            guard at < end, isDigit(base[at]) else { throw failure("a digit") }
            digits()
        }
        if at < end, base[at] | 0x20 == UInt8(ascii: "e") {
            at &+= 1
            if at < end, base[at] == UInt8(ascii: "+") || base[at] == UInt8(ascii: "-") { at &+= 1 }
            guard at < end, isDigit(base[at]) else { throw failure("a digit") }
            digits()
        }
    }

    private mutating func digits() {
        while at < end, isDigit(base[at]) { at &+= 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
}

extension JSONCursor {
    /// Whether the bytes are exactly one object.
    static func isObject(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var cursor = JSONCursor(bytes)
        guard cursor.peek() == UInt8(ascii: "{") else { return false }
        do throws(JSONFailure) {
            try cursor.skipValue()
            return cursor.isAtEnd
        } catch {
            return false
        }
    }

    static func isObject(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { isObject(UnsafeRawBufferPointer($0)) }
    }
}
