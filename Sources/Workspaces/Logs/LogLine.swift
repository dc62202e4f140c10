import Foundation

/// A line of a build's or an agent's log.
package struct LogLine: Sendable, Equatable {
    package enum Level: String, Sendable { case debug, info, warn, error }
    package enum Source: String, Sendable {
        case server = "provisioner_daemon"
        case provisioner
        case agent
    }

    /// Grows within one log; 0 until it is stored.
    package var id: Int64 = 0
    package var at: Date
    package var source: Source
    package var level: Level
    package var stage: String
    package var text: String

    static let longest = 1024

    /// Lines of some text, without what could steer a terminal or cannot be stored; one that is too long becomes several.
    static func lines(_ text: String, at: Date, source: Source, level: Level = .info, stage: String) -> [LogLine] {
        text.split(whereSeparator: \.isNewline).flatMap { line -> [LogLine] in
            var rest = String.UnicodeScalarView(
                line.unicodeScalars.map { $0.value == 9 || ($0.value >= 32 && $0.value != 127) ? $0 : " " })
            var pieces: [LogLine] = []
            repeat {
                let piece = String(String.UnicodeScalarView(rest.prefix(longest)))
                rest.removeFirst(min(longest, rest.count))
                pieces.append(
                    LogLine(at: at, source: source, level: level, stage: String(stage.unicodeScalars.prefix(128)), text: piece))
            } while !rest.isEmpty
            return pieces
        }
    }
}

/// Which lines still fit into a log that is bounded. A pure value.
struct LogRoom: Sendable {
    static let most = 1 << 20
    static let notice = "This log has reached 1 MiB: what comes after is not kept."

    var length: Int
    var isFull: Bool

    /// The lines to store; the last one says so when not all of them are.
    mutating func take(_ lines: [LogLine]) -> [LogLine] {
        var taken: [LogLine] = []
        for line in lines where !isFull {
            // The notice has its room kept.
            if length + line.text.utf8.count > Self.most - Self.notice.utf8.count {
                isFull = true
                var last = line
                (last.level, last.text) = (.warn, Self.notice)
                length += last.text.utf8.count
                taken.append(last)
            } else {
                length += line.text.utf8.count
                taken.append(line)
            }
        }
        return taken
    }
}
