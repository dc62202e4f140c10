/// Names a span and the trace that it is in, as it travels between programs (W3C Trace Context, level 1).
package struct TraceContext: Sendable, Hashable {
    /// The 16 bytes of the trace's id, the first eight in `high`. Never both 0.
    package var high: UInt64
    package var low: UInt64
    /// Never 0.
    package var span: UInt64
    /// Whether whoever began the trace wants it recorded.
    package var isSampled: Bool

    package init(high: UInt64, low: UInt64, span: UInt64, isSampled: Bool) {
        self.high = high
        self.low = low
        self.span = span
        self.isSampled = isSampled
    }

    /// Of a `traceparent` header. Nil for what is none: whoever gets it begins a trace of its own, as the standard asks.
    package init?(header: String) {
        let bytes = Array(header.utf8.prefix(513))
        // version "-" trace id "-" parent id "-" flags, and in versions to come more behind another "-".
        guard bytes.count >= 55, bytes.count <= 512, bytes[2] == 0x2d, bytes[35] == 0x2d, bytes[52] == 0x2d,
            let version = Self.number(bytes[0..<2]), version != 0xff, bytes.count == 55 || (version > 0 && bytes[55] == 0x2d),
            let high = Self.number(bytes[3..<19]), let low = Self.number(bytes[19..<35]), let span = Self.number(bytes[36..<52]),
            let flags = Self.number(bytes[53..<55]), high | low != 0, span != 0
        else { return nil }
        self.init(high: high, low: low, span: span, isSampled: flags & 1 == 1)
    }

    /// What `traceparent` says to a program that is called from this span.
    package var header: String { "00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")" }

    /// 32 hexadecimal digits.
    package var traceID: String { Self.hex(high) + Self.hex(low) }
    /// 16 hexadecimal digits.
    package var spanID: String { Self.hex(span) }

    /// Another span of the same trace.
    package func child() -> TraceContext {
        TraceContext(high: high, low: low, span: .random(in: 1 ... .max), isSampled: isSampled)
    }

    static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    /// Lower-case digits alone, as the standard has it.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case 0x30...0x39: value = value << 4 | UInt64(digit - 0x30)
            case 0x61...0x66: value = value << 4 | UInt64(digit - 0x61 + 10)
            default: return nil
            }
        }
        return value
    }
}
