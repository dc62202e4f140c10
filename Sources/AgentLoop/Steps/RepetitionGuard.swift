import Crypto
import Foundation

/// What a call was and what came of it, in 16 bytes.
package struct CallSignature: Hashable, Sendable {
    package let bytes: Data

    package init(bytes: Data) { self.bytes = bytes }

    /// `outcome` must be free of what differs each time, such as wall time.
    package init(tool: String, arguments: String, outcome: String) {
        let canonical = (try? JSONValue(parsing: arguments))?.canonicalText ?? arguments
        var digest = SHA256()
        for part in [tool, canonical, outcome] { digest.update(data: Data("\(part.utf8.count):\(part)".utf8)) }
        bytes = Data(digest.finalize().prefix(16))
    }
}

/// Notices that a model makes the same call with the same result again and again: warns once, then says stop.
package struct RepetitionGuard: Sendable, Equatable {
    package enum Verdict: Sendable, Equatable {
        case fine
        /// Told to the model together with the result.
        case warn(String)
        case stuck(String)
    }

    private struct Entry: Sendable, Equatable {
        var signature: CallSignature
        var tool: String
    }

    /// Calls that are looked back on: room for several calls in turn.
    private static let window = 24
    private static let warnAt = 3
    private static let stopAt = 5
    /// Waiting for a process is repetition by nature; each time takes seconds.
    private static let patientTools: Set<String> = [ToolName.processOutput.rawValue]
    private static let patience = 6

    private var entries: [Entry] = []

    package init() {}

    /// - Parameter isChange: it changed a file. A change that was not made before is progress, and what it affects may be tried again.
    package mutating func record(_ signature: CallSignature, tool: String, isChange: Bool) -> Verdict {
        if isChange, !entries.contains(where: { $0.signature == signature }) {
            entries.removeAll { $0.tool == ToolName.execute.rawValue }
        }
        entries.append(Entry(signature: signature, tool: tool))
        if entries.count > Self.window * Self.patience { entries.removeFirst() }
        let factor = Self.patientTools.contains(tool) ? Self.patience : 1
        let times = entries.suffix(Self.window * factor).count { $0.signature == signature }
        if times >= Self.stopAt * factor {
            return .stuck("The model made the same \(tool) call \(times) times with the same result.")
        }
        if times == Self.warnAt * factor {
            return .warn(
                "[You have made this \(tool) call \(times) times with the same result. Doing it again tells you nothing new: "
                    + "try something else, or finish and say what is in the way.]")
        }
        return .fine
    }
}
