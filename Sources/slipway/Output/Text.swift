import API
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

    /// Reads a day, which begins at midnight UTC, or a time of RFC 3339.
    static func instant(_ text: String, _ option: String) throws -> Date {
        guard let date = APICoding.date(from: text) ?? APICoding.date(from: text + "T00:00:00Z") else {
            throw Failure(
                .usage, "\(option) is '\(text)'; it must be a day such as 2026-11-01 or a time such as 2026-11-01T12:00:00Z.")
        }
        return date
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
