import Glibc

/// The inside of a JSON string, still escaped, in bytes that somebody else owns.
struct JSONString {
    let start: UnsafePointer<UInt8>
    let count: Int
    let isEscaped: Bool

    /// Whether it says exactly this, however it is escaped.
    func equals(_ text: StaticString) -> Bool {
        if isEscaped { return string() == text.description }
        return count == text.utf8CodeUnitCount && memcmp(start, text.utf8Start, count) == 0
    }

    func string() -> String {
        if !isEscaped { return String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self) }
        var bytes: [UInt8] = []
        append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the unescaped bytes.
    ///
    /// A lone half of a surrogate pair is kept in its three-byte form, and a low half joins a high one that ends `bytes`: servers
    /// that escape everything do cut a pair in two between two deltas. `String(decoding:)` turns what stays alone into U+FFFD.
    func append(to bytes: inout [UInt8]) {
        guard isEscaped else {
            bytes.append(contentsOf: UnsafeBufferPointer(start: start, count: count))
            return
        }
        bytes.reserveCapacity(bytes.count + count)
        var position = 0
        while position < count {
            let rest = count &- position
            guard let found = memchr(start + position, 0x5C, rest) else {
                bytes.append(contentsOf: UnsafeBufferPointer(start: start + position, count: rest))
                return
            }
            let escape = UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - start
            bytes.append(contentsOf: UnsafeBufferPointer(start: start + position, count: escape &- position))
            position = escape &+ 2
            guard escape &+ 1 < count else { return }
            switch start[escape &+ 1] {
            case UInt8(ascii: "n"): bytes.append(0x0A)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "r"): bytes.append(0x0D)
            case UInt8(ascii: "b"): bytes.append(0x08)
            case UInt8(ascii: "f"): bytes.append(0x0C)
            case UInt8(ascii: "u"):
                if let unit = hexUnit(at: position) {
                    position &+= 4
                    Self.append(unit: unit, to: &bytes)
                } else {
                    bytes.append(contentsOf: [0xEF, 0xBF, 0xBD])
                }
            case let other: bytes.append(other)
            }
        }
    }

    private func hexUnit(at position: Int) -> UInt32? {
        guard position &+ 4 <= count else { return nil }
        var unit: UInt32 = 0
        for offset in 0..<4 {
            let byte = start[position &+ offset]
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): unit = unit << 4 | UInt32(byte &- 48)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): unit = unit << 4 | UInt32(byte &- 87)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): unit = unit << 4 | UInt32(byte &- 55)
            default: return nil
            }
        }
        return unit
    }

    private static func append(unit: UInt32, to bytes: inout [UInt8]) {
        switch unit {
        case 0..<0x80: bytes.append(UInt8(unit))
        case 0x80..<0x800:
            bytes.append(UInt8(0xC0 | unit >> 6))
            bytes.append(UInt8(0x80 | unit & 0x3F))
        case 0xDC00..<0xE000 where endsWithHighHalf(bytes):
            let second = UInt32(bytes[bytes.count - 2] & 0x3F)
            let third = UInt32(bytes[bytes.count - 1] & 0x3F)
            let scalar = 0x10000 + ((0xD000 | second << 6 | third) - 0xD800) << 10 + (unit - 0xDC00)
            bytes.removeLast(3)
            bytes.append(UInt8(0xF0 | scalar >> 18))
            bytes.append(UInt8(0x80 | scalar >> 12 & 0x3F))
            bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | scalar & 0x3F))
        default:
            bytes.append(UInt8(0xE0 | unit >> 12))
            bytes.append(UInt8(0x80 | unit >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | unit & 0x3F))
        }
    }

    private static func endsWithHighHalf(_ bytes: [UInt8]) -> Bool {
        bytes.count >= 3 && bytes[bytes.count - 3] == 0xED && (0xA0...0xAF).contains(bytes[bytes.count - 2])
    }
}
