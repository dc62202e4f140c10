import Core
import Foundation

package enum TaskStatus: String, Sendable, Codable, CaseIterable {
    /// Waits for a worker.
    case queued
    case running
    /// Goes on by itself: the model or the workspace was not available.
    case waiting
    /// Asks its owner; see the reason.
    case paused
    case interrupted
    case completed
    case failed

    /// Whether it goes on without anybody doing anything.
    package var isActive: Bool {
        switch self {
        case .queued, .running, .waiting: true
        case .paused, .interrupted, .completed, .failed: false
        }
    }
}

/// A task as people see it.
package struct TaskRecord: Sendable, Equatable {
    package var id: TaskID
    package var organization: OrganizationID
    package var owner: UserID
    package var ownerName: String
    package var name: String
    package var title: String
    package var model: String
    package var status: TaskStatus
    /// A `PauseReason`, `FailureReason` or `WaitReason`, and the sentence that goes with it.
    package var reason: String?
    package var message: String?
    package var limits: TaskLimits
    package var cost: NanoDollars
    package var steps: Int
    package var activeSeconds: Double
    package var workspace: WorkspaceID?
    package var repository: String
    package var baseBranch: String?
    package var baseCommit: String?
    package var headCommit: String?
    package var hasBundle: Bool
    package var changedFiles: Int
    package var additions: Int
    package var deletions: Int
    package var queuedMessages: Int
    package var lastSeq: Int
    package var createdAt: Date
    package var updatedAt: Date
    package var wakeAt: Date?

    package var branch: String { TaskName.branch(name) }
}

/// Short names of tasks: for people, and for the branch.
package enum TaskName {
    package static func branch(_ name: String) -> String { "slipway/\(name)" }

    /// - Throws: `badRequest` saying what a name looks like.
    package static func check(_ name: String) throws {
        let isValid =
            (1...60).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
            && !name.hasPrefix("-") && !name.hasSuffix("-") && !name.contains("--")
        guard isValid else {
            throw AppError(
                .badRequest,
                "The name '\(name.prefix(80))' is not valid: use lower-case letters, digits and single dashes, at most 60.",
                field: "name")
        }
    }

    /// A name from what the task is about, and four characters of chance.
    package static func make(from title: String, chance: UInt16) -> String {
        var words: [String] = []
        var length = 0
        // Letters lose their marks, not the word its letters.
        let plain = title.folding(options: .diacriticInsensitive, locale: nil).lowercased()
        for word in plain.split(whereSeparator: { !($0.isASCII && ($0.isLetter || $0.isNumber)) }) {
            guard length + word.count <= 32, words.count < 5 else { break }
            words.append(String(word))
            length += word.count + 1
        }
        if words.isEmpty { words = ["task"] }
        let hex = String(chance, radix: 16)
        return words.joined(separator: "-") + "-" + String(repeating: "0", count: 4 - hex.count) + hex
    }

    /// The first line of the prompt, at most 100 characters.
    package static func title(from prompt: String) -> String {
        let line = prompt.split(whereSeparator: \.isNewline).first.map(String.init)?.trimmingCharacters(in: .whitespaces) ?? ""
        return line.count <= 100 ? line : String(line.prefix(99)) + "…"
    }
}
