import NIOCore

/// How long to wait before the next try: 25 ms, doubling to 5 s, each between half and all of it, so that a thousand agents
/// do not come back at once.
struct Backoff: Sendable {
    static let first: Int64 = 25
    static let longest: Int64 = 5000

    private var milliseconds = first

    mutating func next(using random: inout some RandomNumberGenerator) -> TimeAmount {
        defer { milliseconds = min(milliseconds * 2, Self.longest) }
        return .milliseconds(Int64.random(in: milliseconds / 2...milliseconds, using: &random))
    }

    mutating func reset() { milliseconds = Self.first }
}
