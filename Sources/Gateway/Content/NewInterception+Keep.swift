import Core
import Foundation

extension NewInterception {
    /// Of several that apply (the organization's, those of rules) the one that keeps least counts.
    mutating func keep(_ mode: ContentMode) {
        contentMode = max(contentMode, mode)
        if contentMode.keepsHashes { return }
        requestHash = Content.emptyHash
        requestSize = 0
        promptHash = Content.promptHash(nil, [])
    }
}
