import Foundation

/// A script that the demo model plays: rules in order, the first that fits the conversation gives the reply.
///
/// One file of `config/demo/` each; its name is the scenario's. What a rule sees is the conversation alone, so the same request
/// always gets the same reply.
struct Scenario: Sendable, Decodable {
    var name = ""
    /// One line for people.
    var description: String
    /// The latest message of the user that matches begins the scenario; replies are counted from there.
    var when: Pattern
    var rules: [Rule]

    private enum CodingKeys: String, CodingKey, CaseIterable { case description, when, rules }

    init(from decoder: any Decoder) throws {
        try decoder.refuseUnknownKeys(CodingKeys.self)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        description = try fields.decode(String.self, forKey: .description)
        when = try fields.decode(Pattern.self, forKey: .when)
        rules = try fields.decode([Rule].self, forKey: .rules)
    }
}

/// When a reply fits. Conditions that are left out always hold.
struct Rule: Sendable, Decodable {
    /// The number of replies since the scenario began: 0 for the first.
    var turn: Int?
    /// Matches what the user has said since the scenario began, that message included.
    var user: Pattern?
    /// Matches the text of the newest tool results. `$1`… in the reply's text and arguments stand for its groups.
    var result: Pattern?
    /// Whether one of the newest tool results is an error.
    var failed: Bool?
    var reply: Reply

    private enum CodingKeys: String, CodingKey, CaseIterable { case turn, user, result, failed, reply }

    init(from decoder: any Decoder) throws {
        try decoder.refuseUnknownKeys(CodingKeys.self)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        turn = try fields.decodeIfPresent(Int.self, forKey: .turn)
        user = try fields.decodeIfPresent(Pattern.self, forKey: .user)
        result = try fields.decodeIfPresent(Pattern.self, forKey: .result)
        failed = try fields.decodeIfPresent(Bool.self, forKey: .failed)
        reply = try fields.decode(Reply.self, forKey: .reply)
    }
}

/// A regular expression of a scenario file; `.` matches line ends only with `(?s)`.
struct Pattern: Sendable, Decodable {
    let source: String
    private let expression: NSRegularExpression

    init(_ source: String) throws {
        self.source = source
        expression = try NSRegularExpression(pattern: source)
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let source = try container.decode(String.self)
        do {
            try self.init(source)
        } catch {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(source)\" is not a regular expression")
        }
    }

    /// The whole match and its groups, nil when there is none.
    func match(_ text: String) -> [String]? {
        let whole = NSRange(text.startIndex..., in: text)
        guard let match = expression.firstMatch(in: text, range: whole) else { return nil }
        return (0..<match.numberOfRanges).map { Range(match.range(at: $0), in: text).map { String(text[$0]) } ?? "" }
    }
}

extension Decoder {
    /// A misspelt key in a scenario must not pass for a condition that always holds.
    func refuseUnknownKeys<Keys: CodingKey & CaseIterable & RawRepresentable>(_: Keys.Type) throws where Keys.RawValue == String {
        let known = Keys.allCases.map(\.rawValue)
        for key in try container(keyedBy: AnyKey.self).allKeys where !known.contains(key.stringValue) {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: codingPath,
                    debugDescription: "unknown key \"\(key.stringValue)\": expected one of \(known.joined(separator: ", "))"))
        }
    }
}

struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
