import Core

/// Something that took time, as it is exported.
package struct Span: Sendable {
    /// OTLP's numbers.
    package enum Kind: Int, Sendable { case `internal` = 1, server, client }

    package enum Value: Sendable, Equatable {
        case string(String)
        case int(Int)
        case double(Double)
        case bool(Bool)
        case strings([String])
    }

    package var context: TraceContext
    /// The span that it happened in; nil: none that is known.
    package var parent: UInt64?
    package var name: String
    package var kind: Kind
    /// Nanoseconds since 1970.
    package var began: UInt64
    package var ended: UInt64 = 0
    package private(set) var attributes: [(key: String, value: Value)] = []
    /// What went wrong, in few words without content; nil: nothing did.
    package private(set) var failure: String?
    /// The clock that does not jump says how long it took.
    private let instant: ContinuousClock.Instant

    /// Longer texts are cut: most come from clients and models.
    package static let longestText = 256

    package init(_ context: TraceContext, parent: UInt64?, name: String, kind: Kind, now: WallNanoseconds = .now) {
        self.context = context
        self.parent = parent
        self.name = Self.cut(name)
        self.kind = kind
        began = now.value
        instant = .now
    }

    package mutating func rename(_ name: String) { self.name = Self.cut(name) }

    package mutating func set(_ key: String, _ text: String?) {
        if let text, !text.isEmpty { attributes.append((key, .string(Self.cut(text)))) }
    }

    package mutating func set(_ key: String, _ number: Int?) { if let number { attributes.append((key, .int(number))) } }
    package mutating func set(_ key: String, _ number: Double) { attributes.append((key, .double(number))) }
    package mutating func set(_ key: String, _ truth: Bool) { attributes.append((key, .bool(truth))) }
    package mutating func set(_ key: String, _ texts: [String]) { attributes.append((key, .strings(texts.map(Self.cut)))) }

    /// - Parameter type: a class of errors, of which there are few: `timeout`, `429`, `policy_denied`.
    package mutating func fail(_ type: String) {
        if failure == nil { set("error.type", type) }
        failure = failure ?? Self.cut(type)
    }

    /// How long it has taken until now.
    package var elapsed: Duration { instant.duration(to: .now) }

    package mutating func end() {
        let (seconds, attoseconds) = elapsed.components
        ended = began &+ UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds)) / 1_000_000_000
    }

    private static func cut(_ text: String) -> String {
        text.utf8.count <= longestText ? text : String(decoding: text.utf8.prefix(longestText), as: UTF8.self)
    }
}
