import Foundation

/// Why a tool call was not made: told to the model in words that it can act on.
package struct ArgumentError: Error, Sendable, Equatable, CustomStringConvertible {
    package var field: String?
    package var message: String

    package var description: String { message }
}

/// The arguments of one tool call: tolerant in reading (aliases, numbers as text), strict afterwards (ranges, unknown fields).
package struct ToolArguments {
    private let tool: String
    private var values: [String: JSONValue]
    private var known: [String] = []

    /// Fields that models add to explain themselves. They mean nothing here.
    private static let remarks: Set<String> = ["description", "explanation", "reason", "intent", "thought", "model_intent"]

    /// - Throws: `ArgumentError` when the text is no JSON object.
    package init(_ text: String, tool: String) throws {
        self.tool = tool
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        var value: JSONValue
        do {
            value = trimmed.isEmpty ? .object([:]) : try JSONValue(parsing: trimmed)
            // Some models encode the object twice.
            if case .string(let inner) = value, let unwrapped = try? JSONValue(parsing: inner) { value = unwrapped }
        } catch {
            throw ArgumentError(field: nil, message: "The arguments of \(tool) are not valid JSON. Send one JSON object.")
        }
        guard case .object(let fields) = value else {
            throw ArgumentError(field: nil, message: "The arguments of \(tool) are \(value.kind); they must be one JSON object.")
        }
        values = fields
    }

    // MARK: Reading: every method notes the field as known, takes it out, and throws `ArgumentError` for a value that is none of its kind

    /// Must be there. Numbers and flags are taken as their text.
    package mutating func string(_ name: String, aliases: [String] = []) throws -> String {
        guard let value = try optionalString(name, aliases: aliases) else { throw missing(name) }
        return value
    }

    /// Nil when it is missing or null.
    package mutating func optionalString(_ name: String, aliases: [String] = []) throws -> String? {
        switch take(name, aliases) {
        case nil, .null: return nil
        case .string(let text): return text
        case .integer(let number): return String(number)
        case .number(let number): return String(number)
        case .bool(let flag): return String(flag)
        case .some(let other): throw mismatch(name, other, "a string")
        }
    }

    /// A path: a string without NUL, not empty.
    package mutating func path(_ name: String, aliases: [String] = []) throws -> String {
        guard let value = try optionalPath(name, aliases: aliases) else { throw missing(name) }
        return value
    }

    /// Nil when it is missing; at most 4096 bytes.
    package mutating func optionalPath(_ name: String, aliases: [String] = []) throws -> String? {
        guard let text = try optionalString(name, aliases: aliases) else { return nil }
        guard !text.isEmpty else { throw ArgumentError(field: name, message: "\(name) of \(tool) is empty; give a path.") }
        guard !text.utf8.contains(0), text.utf8.count <= 4096 else {
            throw ArgumentError(
                field: name, message: "\(name) of \(tool) is no path: it holds a NUL byte or is longer than 4096 bytes.")
        }
        return text
    }

    /// Nil when it is missing. Also as text, or as a number without a fraction; out of range is an error, not cut.
    package mutating func integer(_ name: String, in range: ClosedRange<Int>, aliases: [String] = []) throws -> Int? {
        let given = take(name, aliases)
        let value: Int
        switch given {
        case nil, .null: return nil
        case .integer(let number): value = number
        case .number(let number):
            guard let exact = Int(exactly: number) else { throw mismatch(name, .number(number), "an integer") }
            value = exact
        case .string(let text):
            guard let number = Int(text.trimmingCharacters(in: .whitespaces)) else {
                throw mismatch(name, .string(text), "an integer")
            }
            value = number
        case .some(let other): throw mismatch(name, other, "an integer")
        }
        guard range.contains(value) else {
            throw ArgumentError(
                field: name, message: "\(name) of \(tool) is \(value); it must be from \(range.lowerBound) to \(range.upperBound).")
        }
        return value
    }

    /// False when it is missing. Also `0`, `1` and the words as text.
    package mutating func flag(_ name: String, aliases: [String] = []) throws -> Bool {
        switch take(name, aliases) {
        case nil, .null: return false
        case .bool(let value): return value
        case .integer(0): return false
        case .integer(1): return true
        case .string(let text) where text.lowercased() == "true": return true
        case .string(let text) where text.lowercased() == "false": return false
        case .some(let other): throw mismatch(name, other, "true or false")
        }
    }

    /// Nil when it is missing.
    ///
    /// - Parameters:
    ///   - allowed: what may be said, in lower case, and what it means.
    ///   - listed: what the model is told that it may say.
    package mutating func choice(_ name: String, of allowed: [String: String], listed: [String]) throws -> String? {
        guard let text = try optionalString(name) else { return nil }
        guard let value = allowed[text.lowercased()] else {
            throw ArgumentError(
                field: name,
                message: "\(name) of \(tool) is '\(text.prefix(40))'; it must be one of \(listed.joined(separator: ", ")).")
        }
        return value
    }

    /// A shell command: text, or the array of words that some models write instead.
    package mutating func command(_ name: String, aliases: [String]) throws -> String {
        let given = take(name, aliases)
        var words: [JSONValue]?
        if case .array(let array) = given { words = array }
        if case .string(let text) = given, text.hasPrefix("["), case .array(let array)? = try? JSONValue(parsing: text) {
            words = array
        }
        if let words {
            let texts = words.compactMap { if case .string(let text) = $0 { text } else { nil } }
            guard texts.count == words.count, !texts.isEmpty else { throw mismatch(name, .array(words), "a string") }
            return Self.shellText(of: texts)
        }
        switch given {
        case nil, .null: throw missing(name)
        case .string(let text):
            guard !text.allSatisfy(\.isWhitespace) else {
                throw ArgumentError(field: name, message: "\(name) of \(tool) is empty; give a command.")
            }
            guard !text.utf8.contains(0) else {
                throw ArgumentError(field: name, message: "\(name) of \(tool) holds a NUL byte, which no command can.")
            }
            return text
        case .some(let other): throw mismatch(name, other, "a string with a shell command")
        }
    }

    /// Refuses what is left over.
    package func finish() throws {
        let unknown = values.keys.filter { !Self.remarks.contains($0) }.sorted()
        guard let first = unknown.first else { return }
        throw ArgumentError(
            field: first, message: "\(tool) has no argument '\(first.prefix(60))'. It takes: \(known.joined(separator: ", ")).")
    }

    // MARK: Helpers

    private mutating func take(_ name: String, _ aliases: [String]) -> JSONValue? {
        known.append(name)
        for key in [name] + aliases {
            if let value = values.removeValue(forKey: key) { return value }
        }
        return nil
    }

    private func missing(_ name: String) -> ArgumentError {
        ArgumentError(field: name, message: "\(tool) needs '\(name)', which is missing.")
    }

    private func mismatch(_ name: String, _ value: JSONValue, _ expected: String) -> ArgumentError {
        ArgumentError(field: name, message: "\(name) of \(tool) is \(value.kind); it must be \(expected).")
    }

    /// `["bash", "-lc", script]` is the script; other words are quoted where the shell would split them.
    static func shellText(of words: [String]) -> String {
        let shells: Set<String> = ["sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/bash"]
        if words.count == 3, shells.contains(words[0]), ["-c", "-lc", "-ec"].contains(words[1]) { return words[2] }
        if words.count == 1 { return words[0] }
        let plain = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:@%+,")
        return words.map { word in
            !word.isEmpty && word.unicodeScalars.allSatisfy(plain.contains)
                ? word : "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
        }.joined(separator: " ")
    }
}
