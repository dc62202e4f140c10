/// Names and ids of a client that an upstream would refuse, in a form that it takes. The same name always gives the same, so that
/// prompt caches hit.
enum ToolNames {
    /// Letters, digits, `_` and `-`, at most `limit` bytes.
    static func fitting(_ name: String, limit: Int) -> String {
        let plain = name.utf8.map { isPlain($0) ? $0 : UInt8(ascii: "_") }
        let text = String(decoding: plain, as: UTF8.self)
        if text == name, plain.count <= limit, !plain.isEmpty { return name }
        return text.prefix(limit - 17) + "_" + hash(name)
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// FNV-1a, 64 bits: tells names apart, protects nothing.
    static func hash(_ text: String) -> String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
