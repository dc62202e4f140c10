import Foundation

/// The message of a turn's commit: what the model said at the end, in the form git expects, and for whom it was made.
enum CommitMessage {
    private static let subjectLength = 72
    private static let bodyBytes = 8_000

    static func text(for ending: Ending, title: String, task: String, username: String, email: String?) -> String {
        let said: String
        switch ending {
        case .completed(let text): said = text
        case .paused, .interrupted, .failed: said = "Work in progress: \(title)"
        }
        var lines = clean(said).linesByLF.map(String.init)
        while lines.first?.allSatisfy(\.isWhitespace) == true { lines.removeFirst() }
        let first = lines.isEmpty ? title : lines.removeFirst()
        var (subject, rest) = split(withoutMarkup(first))
        if subject.isEmpty { subject = "Work on \(task)" }
        if !rest.isEmpty { lines.insert(contentsOf: [rest, ""], at: 0) }
        let body = lines.joined(separator: "\n").trimmingCharacters(in: .whitespacesAndNewlines)
        let cut = String(decoding: OutputCut.wholeLines(head: Array(body.utf8.prefix(bodyBytes))), as: UTF8.self)
        let trailers = "On-behalf-of: \(person(username, email))\nSlipway-Task: \(task)"
        return [subject, cut, trailers].filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
    }

    /// `alice <alice@example.com>`, without what would end a trailer early.
    static func person(_ name: String, _ email: String?) -> String {
        func safe(_ text: String) -> String {
            String(
                String.UnicodeScalarView(
                    text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F && $0 != "<" && $0 != ">" }))
        }
        return email.map { "\(safe(name)) <\(safe($0))>" } ?? safe(name)
    }

    private static func clean(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.filter { $0 == "\n" || $0 == "\t" || ($0.value >= 0x20 && $0.value != 0x7F) }))
    }

    private static func withoutMarkup(_ line: String) -> String {
        line.trimmingCharacters(in: CharacterSet(charactersIn: "#*_`> \t"))
    }

    /// A subject of at most 72 characters, cut between words, and what did not fit.
    private static func split(_ line: String) -> (subject: String, rest: String) {
        guard line.count > subjectLength else { return (line, "") }
        let head = line.prefix(subjectLength - 1)
        let end = head.lastIndex(of: " ") ?? head.endIndex
        return (head[..<end] + "…", line)
    }
}
