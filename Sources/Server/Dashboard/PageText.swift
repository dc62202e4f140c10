import Core
import Foundation

/// How values are written on pages.
enum PageText {
    /// `just now`, `4 min ago`, `3 h ago`, then the date in UTC.
    static func ago(_ date: Date, now: Date) -> String {
        let seconds = Int(now.timeIntervalSince(date))
        switch seconds {
        case ..<45: return "just now"
        case ..<3600: return "\(max(1, seconds / 60)) min ago"
        case ..<86400: return "\(seconds / 3600) h ago"
        default: return String(iso(date).prefix(10))
        }
    }

    static func iso(_ date: Date) -> String { date.formatted(.iso8601) }

    /// Thousands apart: `12 345`, with a narrow no-break space.
    static func count(_ number: Int) -> String {
        var text = String(number.magnitude)
        var index = text.count - 3
        while index > 0 {
            text.insert("\u{202F}", at: text.index(text.startIndex, offsetBy: index))
            index -= 3
        }
        return number < 0 ? "−\(text)" : text
    }

    /// One line of at most `limit` characters.
    static func line(_ text: String, limit: Int = 120) -> String {
        let first = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return first.count > limit ? first.prefix(limit) + "…" : first
    }

    /// Head and tail of a long text, saying at the top what was left out, so that a page stays a page.
    static func excerpt(_ text: String, limit: Int = 40_000) -> String {
        guard text.utf8.count > limit else { return text }
        let half = limit / 2
        return "[\(count(text.utf8.count)) bytes; the middle is left out here]\n\(text.prefix(half))\n…\n\(text.suffix(half))"
    }

    /// JSON with one member a line, or the text as it is when it is no JSON.
    static func prettyJSON(_ text: String) -> String {
        guard let value = try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed),
            let data = try? JSONSerialization.data(
                withJSONObject: value, options: [.prettyPrinted, .sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes])
        else { return text }
        return String(decoding: data, as: UTF8.self)
    }
}
