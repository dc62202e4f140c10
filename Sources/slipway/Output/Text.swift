import Core
import Foundation

/// How values are written in a terminal.
enum Text {
    static func money(_ nanoDollars: Int64?) -> String { nanoDollars.map { NanoDollars($0).description } ?? "-" }

    /// `2026-11-21 16:46:39Z`: in UTC, and it says so.
    static func time(_ date: Date?) -> String {
        let text = date?.formatted(
            .iso8601.year().month().day().dateSeparator(.dash).time(includingFractionalSeconds: false)
                .timeSeparator(.colon).dateTimeSeparator(.space))
        return text.map { $0 + "Z" } ?? "-"
    }

    static func line(_ text: String, limit: Int = 60) -> String {
        let first = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return first.count > limit ? first.prefix(limit - 1) + "…" : first
    }

    /// Head and tail of a long text.
    static func excerpt(_ text: String, lines limit: Int) -> [String] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard lines.count > limit else { return lines }
        let head = limit / 3
        let tail = limit - head
        return lines.prefix(head) + ["… \(lines.count - head - tail) more lines …"] + lines.suffix(tail)
    }
}
