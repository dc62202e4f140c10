import Core
import Foundation
import ModelAPI

/// What of a call's content is kept.
package enum ContentMode: String, Sendable, CaseIterable, Comparable {
    /// Prompt, answer, tool calls and results, byte for byte.
    case full
    /// Their hashes and sizes: who has a body can tell whether it was the one.
    case hashed
    /// Neither.
    case none

    var keepsHashes: Bool { self != .none }

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

extension NewInterception {
    /// Of several that apply (the organization's, a policy's) the one that keeps least counts.
    mutating func keep(_ mode: ContentMode) {
        contentMode = max(contentMode, mode)
        if contentMode.keepsHashes { return }
        requestHash = Content.emptyHash
        requestSize = 0
        promptHash = Content.promptHash(nil, [])
    }
}
