/// Names of what a translation could not carry over, for a response header: nothing is dropped silently.
package struct Losses: Sendable, Hashable {
    /// The header's name.
    package static let header = "x-slipway-not-translated"
    static let most = 40

    /// Fields as the client names them, without numbers: `logprobs`, `messages.content.server_tool_use`. In order, none twice.
    package private(set) var names: [String] = []
    private var more = 0

    package init() {}

    /// - Parameter field: may be a client's own invention; what does not belong into a header is replaced.
    package mutating func note(_ field: String) {
        var name = ""
        var isIndex = false
        for byte in field.utf8 {
            if byte == UInt8(ascii: "[") { isIndex = true }
            if !isIndex, name.utf8.count < 80 {
                name.unicodeScalars.append(Self.isPlain(byte) ? Unicode.Scalar(byte) : "_")
            }
            if byte == UInt8(ascii: "]") { isIndex = false }
        }
        guard !name.isEmpty, !names.contains(name) else { return }
        if names.count < Self.most { names.append(name) } else { more += 1 }
    }

    mutating func note(_ rest: [String]) {
        for name in rest { note(name) }
    }

    package mutating func merge(_ other: Losses) {
        for name in other.names { note(name) }
        more += other.more
    }

    package var isEmpty: Bool { names.isEmpty }

    /// `cache_control, top_k`; nil when nothing was lost.
    package var headerValue: String? {
        if names.isEmpty { return nil }
        return names.joined(separator: ", ") + (more > 0 ? ", and \(more) more" : "")
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
