/// Path and query of a request: `/v1/files?path=a%20b&offset=0`.
package struct RequestTarget: Sendable, Equatable {
    /// Decoded segments.
    package var segments: [String]
    package var query: [String: String]

    package init(_ segments: [String], query: [String: String] = [:]) { (self.segments, self.query) = (segments, query) }

    /// Nil if an escape is malformed or does not give UTF-8.
    package init?(parsing text: String) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first, path.first == "/" else { return nil }
        segments = []
        query = [:]
        for segment in path.split(separator: "/") {
            guard let decoded = Self.decode(segment) else { return nil }
            segments.append(decoded)
        }
        guard parts.count == 2 else { return }
        for pair in parts[1].split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = Self.decode(sides[0]), let value = sides.count == 2 ? Self.decode(sides[1]) : "" else { return nil }
            query[key] = value
        }
    }

    package var text: String {
        var text = ""
        for segment in segments { text += "/" + Self.encode(segment) }
        for (index, pair) in query.sorted(by: { $0.key < $1.key }).enumerated() {
            text += (index == 0 ? "?" : "&") + Self.encode(pair.key) + "=" + Self.encode(pair.value)
        }
        return text
    }

    private static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                bytes.append(byte)
            default:
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func decode(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
