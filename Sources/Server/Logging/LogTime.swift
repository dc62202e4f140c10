import Foundation
import NIOConcurrencyHelpers

/// Times as log lines have them: UTC, to the millisecond. What stays the same for a second is formatted once.
enum LogTime {
    private static let cache = NIOLockedValueBox<(second: Int, text: String)>((.min, ""))
    private static let style = Date.ISO8601FormatStyle()

    /// `2026-11-21T16:27:12.842Z`
    static func text(_ date: Date) -> String {
        // By way of microseconds: a whole number of milliseconds is a little less in binary.
        let milliseconds = Int((date.timeIntervalSince1970 * 1_000_000).rounded()) / 1000
        let (second, rest) = (milliseconds / 1000, milliseconds % 1000)
        let start = cache.withLockedValue { cache in
            if cache.second != second {
                cache = (second, String(Date(timeIntervalSince1970: Double(second)).formatted(style).dropLast()))
            }
            return cache.text
        }
        return start + (rest < 10 ? ".00" : rest < 100 ? ".0" : ".") + String(rest) + "Z"
    }
}
