import NIOCore

/// Where a later request of a conversation stops being what the earlier one was, so that a prompt cache cannot be read any further.
///
/// Fields are compared in the order in which providers build prompts: tools, system, then the messages of the earlier request one by
/// one. Cache marks (`cache_control`) and white space between tokens move from call to call without changing what is cached.
package struct RequestDifference: Sendable, Equatable {
    /// `tools`, `system`, `messages[3]`, `tool_choice` …, as the protocol names its fields.
    package var place: String
    /// The message's number; nil for other fields.
    package var message: Int?
    /// The first differing byte, counted in the later request and in the earlier one; a missing field has none there.
    package var offset: Int
    package var earlierOffset: Int?

    /// Nil when the earlier request is the beginning of the later one.
    ///
    /// - Returns: nil too for what is no JSON object.
    package static func find(earlier: ByteBuffer, later: ByteBuffer) -> RequestDifference? {
        earlier.withUnsafeReadableBytes { old in
            later.withUnsafeReadableBytes { new in
                guard let old = Fields(old), let new = Fields(new) else { return nil }
                return old.difference(to: new)
            }
        }
    }

    /// Up to so many bytes on both sides of an offset, as text.
    package static func excerpt(_ body: ByteBuffer, at offset: Int, reach: Int = 40) -> String {
        let low = max(0, offset - reach)
        let high = min(body.readableBytes, offset + reach)
        guard low < high else { return "" }
        return String(decoding: body.readableBytesView.dropFirst(low).prefix(high - low), as: UTF8.self)
    }
}

/// A request's top-level fields, and the elements of its conversation.
private struct Fields {
    private static let first = ["tools", "system", "systemInstruction", "system_instruction", "instructions"]
    private static let conversations = ["messages", "input", "contents"]
    private static let last = ["tool_choice", "thinking", "reasoning", "model"]

    var bytes: UnsafeRawBufferPointer
    var fields: [String: Range<Int>] = [:]
    var messages: [Range<Int>] = []
    var conversation = ""

    init?(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        var cursor = JSONCursor(bytes)
        do {
            var walk = try cursor.enterObject()
            while let key = try cursor.nextKey(&walk) {
                let name = key.string()
                let range = try cursor.range()
                fields[name] = range
                guard Self.conversations.contains(name) else { continue }
                conversation = name
                var inner = JSONCursor(cursor, in: range)
                guard inner.peek() == UInt8(ascii: "[") else {
                    messages = [range]
                    continue
                }
                messages = []
                var elements = try inner.enterArray()
                while try inner.nextElement(&elements) { messages.append(try inner.range()) }
            }
        } catch { return nil }
    }

    func difference(to new: Fields) -> RequestDifference? {
        for name in Self.first {
            if let found = compare(fields[name], new.fields[name], name, nil, new) { return found }
        }
        for (index, message) in messages.enumerated() {
            let other = index < new.messages.count ? new.messages[index] : nil
            if let found = compare(message, other, "\(conversation)[\(index)]", index, new) { return found }
        }
        for name in Self.last {
            if let found = compare(fields[name], new.fields[name], name, nil, new) { return found }
        }
        return nil
    }

    private func compare(
        _ old: Range<Int>?, _ range: Range<Int>?, _ place: String, _ message: Int?, _ new: Fields
    ) -> RequestDifference? {
        guard let old else {
            return range.map { .init(place: place, message: message, offset: $0.lowerBound, earlierOffset: nil) }
        }
        guard let range else {
            return .init(place: place, message: message, offset: new.bytes.count - 1, earlierOffset: old.lowerBound)
        }
        var (a, b) = (Significant(bytes, old), Significant(new.bytes, range))
        while true {
            let (x, y) = (a.next(), b.next())
            if x == nil, y == nil { return nil }
            if x?.byte != y?.byte {
                return .init(
                    place: place, message: message, offset: y?.offset ?? range.upperBound,
                    earlierOffset: x?.offset ?? old.upperBound)
            }
        }
    }
}

/// The bytes of a value that a cache depends on: without white space between tokens and without cache marks.
private struct Significant {
    private let bytes: UnsafeRawBufferPointer
    private var at: Int
    private let end: Int
    private var isInString = false
    /// A comma that is not given out yet: a cache mark may follow, which takes it along.
    private var comma: Int?

    private static let mark = Array("\"cache_control\"".utf8)

    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
    }

    mutating func next() -> (byte: UInt8, offset: Int)? {
        while at < end {
            let byte = bytes[at]
            if isInString {
                defer { at += 1 }
                if byte == UInt8(ascii: "\\"), at + 1 < end {
                    // The escaped byte is given out next, and cannot end the string.
                    escapes = !escapes
                } else if byte == UInt8(ascii: "\""), !escapes {
                    isInString = false
                } else {
                    escapes = false
                }
                return (byte, at)
            }
            if byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
                at += 1
                continue
            }
            if byte == UInt8(ascii: "\""), let after = skipMark() {
                at = after
                // `{"cache_control":…,"x":1}`: the comma behind it goes with it, else the one before.
                if comma == nil, peekToken() == UInt8(ascii: ",") { at = position(of: UInt8(ascii: ",")) + 1 }
                comma = nil
                continue
            }
            if let waiting = comma {
                comma = nil
                return (UInt8(ascii: ","), waiting)
            }
            if byte == UInt8(ascii: ",") {
                comma = at
                at += 1
                continue
            }
            if byte == UInt8(ascii: "\"") {
                isInString = true
                escapes = false
            }
            at += 1
            return (byte, at - 1)
        }
        if let waiting = comma {
            comma = nil
            return (UInt8(ascii: ","), waiting)
        }
        return nil
    }

    private var escapes = false

    /// Behind a cache mark and its value, if one begins here.
    private func skipMark() -> Int? {
        guard at + Self.mark.count < end,
            UnsafeRawBufferPointer(rebasing: bytes[at..<(at + Self.mark.count)]).elementsEqual(Self.mark)
        else { return nil }
        var cursor = JSONCursor(UnsafeRawBufferPointer(rebasing: bytes[(at + Self.mark.count)..<end]))
        guard cursor.peek() == UInt8(ascii: ":") else { return nil }
        var value = JSONCursor(UnsafeRawBufferPointer(rebasing: bytes[(at + Self.mark.count + cursor.at + 1)..<end]))
        guard let range = try? value.range() else { return nil }
        return at + Self.mark.count + cursor.at + 1 + range.upperBound
    }

    private func peekToken() -> UInt8 {
        var cursor = JSONCursor(UnsafeRawBufferPointer(rebasing: bytes[at..<end]))
        return cursor.peek()
    }

    private func position(of byte: UInt8) -> Int { (at..<end).first { bytes[$0] == byte } ?? end - 1 }
}
