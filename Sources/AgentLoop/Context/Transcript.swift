import Core
import ModelAPI

/// What the model sees of a task, as rows: entries in order, and the results of calls by the step that asked for them.
package struct Transcript: Sendable {
    package enum EntryKind: String, Sendable, Codable { case user, answer, remark }

    package struct Entry: Sendable, Equatable {
        package var position: Int
        package var kind: EntryKind
        package var step: Int?
        package var content: [ContentBlock]

        package init(position: Int, kind: EntryKind, step: Int? = nil, content: [ContentBlock]) {
            self.position = position
            self.kind = kind
            self.step = step
            self.content = content
        }
    }

    package struct ResultOfCall: Sendable, Equatable {
        package var number: Int
        package var modelID: String
        package var text: String
        package var isError: Bool

        package init(number: Int, modelID: String, text: String, isError: Bool) {
            self.number = number
            self.modelID = modelID
            self.text = text
            self.isError = isError
        }
    }

    package private(set) var entries: [Entry]
    private var results: [Int: [ResultOfCall]]
    /// Tool outputs of answers before this position are left out.
    package private(set) var prunedBelow: Int

    package init(entries: [Entry] = [], results: [Int: [ResultOfCall]] = [:], prunedBelow: Int = 0) {
        self.entries = entries
        self.results = results
        self.prunedBelow = prunedBelow
    }

    package var lastPosition: Int { entries.last?.position ?? 0 }

    package mutating func append(_ entry: Entry) { entries.append(entry) }
    package mutating func append(_ result: ResultOfCall, step: Int) { results[step, default: []].append(result) }

    /// The conversation as it is sent: after each answer one message with the results of its calls and what was said since.
    package var messages: [Message] {
        var messages: [Message] = []
        var pending: [ContentBlock] = []
        func flush() {
            if !pending.isEmpty { messages.append(Message(role: .user, content: pending)) }
            pending = []
        }
        for entry in entries {
            switch entry.kind {
            case .user, .remark: pending += entry.content
            case .answer:
                flush()
                messages.append(Message(role: .assistant, content: entry.content))
                for result in sortedResults(of: entry) {
                    let text = entry.position < prunedBelow ? Self.pruned(result.text) : result.text
                    pending.append(.toolResult(id: result.modelID, text: text, isError: result.isError))
                }
            }
        }
        flush()
        return messages
    }

    private func sortedResults(of entry: Entry) -> [ResultOfCall] {
        (entry.step.flatMap { results[$0] } ?? []).sorted { $0.number < $1.number }
    }
}

// MARK: Pruning

extension Transcript {
    private static let placeholderBytes = 200

    static func pruned(_ text: String) -> String {
        guard text.utf8.count > placeholderBytes else { return text }
        return "[\(text.utf8.count) bytes of output were left out to save room. Make the call again if you need them.]"
    }

    /// Leaves out old tool outputs: as few as bring a real gain, so that provider caches break rarely.
    ///
    /// - Returns: the bytes that are left out from now on; 0 when there is nothing to gain.
    package mutating func prune() -> Int {
        for (kept, enough) in [(60_000, 20_000), (20_000, 20_000), (4_000, 4_000)] {
            let (border, gain) = plan(keeping: kept)
            if gain >= enough {
                prunedBelow = border
                return gain
            }
        }
        return 0
    }

    /// The newest outputs up to `kept` bytes stay; what lies before is pruned.
    private func plan(keeping kept: Int) -> (border: Int, gain: Int) {
        var budget = kept
        var border = 0
        var gain = 0
        for entry in entries.reversed() where entry.kind == .answer && entry.position >= prunedBelow {
            let sizes = sortedResults(of: entry).map(\.text.utf8.count)
            let size = sizes.reduce(0, +)
            if border == 0, size <= budget {
                budget -= size
                continue
            }
            if border == 0 { border = entry.position + 1 }
            gain += sizes.filter { $0 > Self.placeholderBytes }.reduce(0) { $0 + $1 - Self.placeholderBytes }
        }
        return (border, gain)
    }
}
