import Foundation

/// What the verifier found.
package struct AuditReport: Sendable {
    /// One thing that is not as it was recorded.
    package struct Problem: Sendable, Equatable {
        package enum Kind: String, Sendable {
            case changed, removed, inserted, reordered, checkpoint, content, budget
        }

        package var kind: Kind
        package var chain: UUID?
        package var n: Int64?
        package var subject: String?
        package var message: String
    }

    package var entries: Int64 = 0
    package var chains: [Checkpoint.Head] = []
    package var checkpoints: Int64 = 0
    package var lastCheckpoint: Checkpoint?
    /// Bodies that were deleted since; their hashes are still covered.
    package var deletedContents: Int64 = 0
    /// Contents and records that retention removed, with a tombstone for each that its fact covers.
    package var removedByRetention: Int64 = 0
    /// The first thousand.
    package var problems: [Problem] = []
    package var moreProblems = 0

    package var isSound: Bool { problems.isEmpty }

    package init() {}

    package mutating func add(
        _ kind: Problem.Kind, chain: UUID? = nil, n: Int64? = nil, subject: String? = nil, _ message: String
    ) {
        guard problems.count < 1000 else {
            moreProblems += 1
            return
        }
        problems.append(Problem(kind: kind, chain: chain, n: n, subject: subject, message: message))
    }
}
