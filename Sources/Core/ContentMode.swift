/// What of a call's content is kept.
package enum ContentMode: String, Sendable, CaseIterable, Comparable {
    /// Prompt, answer, tool calls and results, byte for byte.
    case full
    /// Their hashes and sizes: who has a body can tell whether it was the one.
    case hashed
    /// Neither.
    case none

    package var keepsHashes: Bool { self != .none }

    /// The one that keeps more comes first.
    package static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

    private var rank: Int {
        switch self {
        case .full: 0
        case .hashed: 1
        case .none: 2
        }
    }
}
