import Foundation

/// What a turn left in the repository, as it was stored.
package struct SavedWork: Sendable, Equatable {
    package var headCommit: String
    /// Files in the database; nil when the branch has no commit of its own.
    package var bundle: UUID?
    package var diff: UUID?
    package var changedFiles: Int
    package var additions: Int
    package var deletions: Int
    /// The head is another one than after the last turn.
    package var isNew: Bool
}
