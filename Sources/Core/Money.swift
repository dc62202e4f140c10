/// An amount of money: billionths of a US dollar. Range ±9.2 billion dollars; arithmetic traps on overflow.
package struct NanoDollars: Hashable, Comparable, Sendable, Codable, AdditiveArithmetic {
    package var value: Int64

    package init(_ value: Int64) { self.value = value }
    package static let zero = NanoDollars(0)

    package static func < (a: Self, b: Self) -> Bool { a.value < b.value }
    package static func + (a: Self, b: Self) -> Self { .init(a.value + b.value) }
    package static func - (a: Self, b: Self) -> Self { .init(a.value - b.value) }

    package init(from decoder: any Decoder) throws { value = try decoder.singleValueContainer().decode(Int64.self) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }
}

extension NanoDollars: CustomStringConvertible {
    /// Dollars as people write them: at least two decimals, no trailing zeros beyond, e.g. `$0.004215`, `-$1.50`.
    package var description: String {
        let magnitude = value.magnitude
        var decimals = String(magnitude % 1_000_000_000)
        decimals = String(repeating: "0", count: 9 - decimals.count) + decimals
        while decimals.count > 2, decimals.last == "0" { decimals.removeLast() }
        return "\(value < 0 ? "-" : "")$\(magnitude / 1_000_000_000).\(decimals)"
    }

    /// Reads `12`, `$12.50` or `0.000001`: at most nine decimals, not negative. Nil for anything else.
    package init?(dollars text: String) {
        let digits = text.hasPrefix("$") ? text.dropFirst() : text[...]
        let parts = digits.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, !whole.isEmpty, whole.allSatisfy(\.isASCIIDigit), let dollars = Int64(whole) else {
            return nil
        }
        var nanos: Int64 = 0
        if parts.count == 2 {
            guard (1...9).contains(parts[1].count), parts[1].allSatisfy(\.isASCIIDigit) else { return nil }
            nanos = Int64(parts[1] + String(repeating: "0", count: 9 - parts[1].count)) ?? 0
        }
        let (scaled, overflowed) = dollars.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflowed, scaled <= .max - nanos else { return nil }
        self.init(scaled + nanos)
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

/// A price as providers publish it: millionths of a US dollar per million tokens, so one token costs that many pico-dollars.
package struct MicroDollarsPerMillion: Hashable, Sendable, Codable {
    package var value: Int64
    package init(_ value: Int64) { self.value = value }

    package init(from decoder: any Decoder) throws { value = try decoder.singleValueContainer().decode(Int64.self) }
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }
}

/// A number of model tokens.
package typealias TokenCount = Int

/// A sum of token costs before it is rounded: trillionths of a US dollar.
package struct PicoDollars: Hashable, Sendable {
    package private(set) var value: Int128 = 0
    package init() {}

    /// `tokens × price`: micro-dollars per million tokens is exactly pico-dollars per token.
    package mutating func add(_ tokens: TokenCount, at price: MicroDollarsPerMillion) {
        value += Int128(tokens) * Int128(price.value)
    }

    /// Things with a price of their own, such as web searches.
    package mutating func add(_ count: Int, each price: NanoDollars) {
        value += Int128(count) * Int128(price.value) * 1000
    }

    /// Rounded half up to nano-dollars: the only rounding a row's cost ever sees. What is beyond the range of amounts becomes its end:
    /// counts come from clients and upstreams, and no count may end the process.
    package var rounded: NanoDollars { NanoDollars(Int64(clamping: (value + 500) / 1000)) }

    /// Rounded up to nano-dollars, for holds: never less than what `rounded` can become. Clamped alike.
    package var ceiling: NanoDollars { NanoDollars(Int64(clamping: (value + 999) / 1000)) }
}
