import Core
import Yams

/// A value of a mapping, with its place.
struct YAMLField {
    var key: String
    var node: Node
}

/// Takes a YAML document apart and keeps every problem with its place, so that an author sees all of them at once.
struct YAMLFields {
    /// Of one document, in bytes.
    static let longest = 256 * 1024

    private(set) var problems: [PolicyProblem] = []

    /// The root of a document that is safe to walk.
    ///
    /// - Throws: `PolicyFileError` for what is no YAML, too long, several documents, or has anchors: an alias may stand for a thousand
    ///   others. libyaml itself refuses more than 1,000 levels.
    static func compose(_ text: String) throws(PolicyFileError) -> Node {
        func failed(_ mark: Mark?, _ message: String) -> PolicyFileError {
            failed(Place(line: max(1, mark?.line ?? 1), column: max(1, mark?.column ?? 1)), message)
        }
        func failed(_ place: Place, _ message: String) -> PolicyFileError {
            PolicyFileError(problems: [.init(line: place.line, column: place.column, message: message)])
        }
        guard text.utf8.count <= longest else {
            throw failed(nil, "the text has \(text.utf8.count) bytes; at most \(longest) are taken")
        }
        if let place = anchor(in: text) {
            throw failed(place, "anchors and aliases are not taken; write the value out where it is needed")
        }
        do {
            guard let node = try Yams.compose(yaml: text) else { throw failed(nil, "there is nothing in it") }
            return node
        } catch let error as PolicyFileError {
            throw error
        } catch let error as YamlError {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                throw failed(mark, "this is not YAML: \(problem)")
            case .duplicatedKeysInMapping(let keys, let context):
                throw failed(context.mark, "the key \(keys.map { "'\($0)'" }.joined(separator: ", ")) stands here twice")
            default: throw failed(nil, "this is not YAML: \(error)")
            }
        } catch {
            throw failed(nil, "this is not YAML: \(error)")
        }
    }

    private struct Place {
        var line: Int
        var column: Int
    }

    /// Where something stands that could be an anchor. Anchors follow white space, a bracket, a comma or a colon, and have a name, which to
    /// libyaml is letters, digits, `_` and `-`: `cd build && make` is none.
    private static func anchor(in text: String) -> Place? {
        guard text.utf8.contains(UInt8(ascii: "&")) else { return nil }
        let before = Set(" \t[]{},:?-\"'!>|".unicodeScalars)
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            if line.first(where: { $0 != " " && $0 != "\t" }) == "#" { continue }
            var last: Unicode.Scalar = " "
            let scalars = Array(line.unicodeScalars)
            for (column, scalar) in scalars.enumerated() {
                defer { last = scalar }
                guard scalar == "&", before.contains(last) || column == 0, column + 1 < scalars.count else { continue }
                let next = scalars[column + 1]
                let isName =
                    next.isASCII && (next.properties.isAlphabetic || ("0"..."9").contains(next)) || next == "_" || next == "-"
                if isName { return Place(line: number + 1, column: column + 1) }
            }
        }
        return nil
    }

    // MARK: Reading

    mutating func problem(_ node: Node, _ message: String) { problem(node.mark, message) }

    mutating func problem(_ mark: Mark?, _ message: String) {
        guard problems.count < 100 else { return }
        problems.append(.init(line: max(1, mark?.line ?? 1), column: max(1, mark?.column ?? 1), message: message))
    }

    /// - Parameters:
    ///   - what: for messages, e.g. `a rule`.
    ///   - keys: those that it may have.
    mutating func mapping(_ node: Node, _ what: String, keys: [String]) -> [String: YAMLField] {
        guard case .mapping(let mapping) = node else {
            problem(node, "\(what) must be 'key: value' lines")
            return [:]
        }
        var fields: [String: YAMLField] = [:]
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                problem(key, "a key of \(what) must be a word")
                continue
            }
            guard keys.contains(scalar.string) else {
                let hint = Spelling.nearest(to: scalar.string, among: keys).map { "did you mean '\($0)'?" }
                problem(
                    key, "\(what) has no '\(scalar.string.prefix(64))'; \(hint ?? "it has \(keys.joined(separator: ", "))")")
                continue
            }
            fields[scalar.string] = YAMLField(key: scalar.string, node: value)
        }
        return fields
    }

    /// Nil when it is missing or wrong.
    mutating func text(_ field: YAMLField?, longest: Int = 1000) -> String? {
        guard let field else { return nil }
        guard case .scalar(let scalar) = field.node, !scalar.string.isEmpty else {
            problem(field.node, "'\(field.key)' must be a text")
            return nil
        }
        guard scalar.string.utf8.count <= longest, !scalar.string.utf8.contains(0) else {
            problem(field.node, "'\(field.key)' must have at most \(longest) bytes, and none of them 0")
            return nil
        }
        return scalar.string
    }

    mutating func number(_ field: YAMLField?, _ range: ClosedRange<Int>) -> Int? {
        guard let field else { return nil }
        guard let text = field.node.scalar?.string, let number = Int(text.replacing("_", with: "")), range.contains(number) else {
            problem(field.node, "'\(field.key)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    mutating func word<Word: RawRepresentable & CaseIterable>(_ field: YAMLField?, _ type: Word.Type = Word.self) -> Word?
    where Word.RawValue == String {
        guard let field else { return nil }
        let words = Word.allCases.map(\.rawValue)
        guard let text = field.node.scalar?.string, let word = Word(rawValue: text) else {
            let given = field.node.scalar.map { "is '\($0.string.prefix(64))' and " } ?? ""
            problem(field.node, "'\(field.key)' \(given)must be \(Self.either(words))")
            return nil
        }
        return word
    }

    /// One value or a list of values, at least one and at most a thousand.
    mutating func texts(_ field: YAMLField?) -> [(text: String, node: Node)] {
        guard let field else { return [] }
        let nodes: [Node]
        if case .sequence(let sequence) = field.node { nodes = Array(sequence) } else { nodes = [field.node] }
        guard (1...1000).contains(nodes.count) else {
            problem(field.node, "'\(field.key)' has \(nodes.count) entries; it must have 1 to 1000, or be left out")
            return []
        }
        return nodes.compactMap { node in
            text(YAMLField(key: field.key, node: node), longest: 300).map { ($0, node) }
        }
    }

    mutating func patterns(_ field: YAMLField?) -> PatternList { PatternList(texts(field).map(\.text)) }

    /// One mapping or a list of them.
    func list(_ field: YAMLField?) -> [Node] {
        guard let field else { return [] }
        if case .sequence(let sequence) = field.node { return Array(sequence) }
        return [field.node]
    }

    /// The name of a policy or a rule: lower-case words with hyphens.
    mutating func name(_ field: YAMLField?) -> String? {
        guard let name = text(field, longest: 64), let field else { return nil }
        guard name.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) != nil else {
            problem(
                field.node, "'\(field.key)' is '\(name)'; it must be lower-case letters, digits and hyphens, e.g. no-large-models")
            return nil
        }
        return name
    }

    static func either(_ words: [String]) -> String {
        words.count < 2 ? words.joined() : words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
    }
}
