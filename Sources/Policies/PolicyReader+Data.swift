import Core
import Yams

/// Classes of data, the patterns that admins define, and conditions on the arguments of tools.
extension PolicyReader {
    static let mostPatterns = 50

    mutating func readPatterns(_ field: YAMLField?) -> [DataPattern] {
        let nodes = fields.list(field)
        if nodes.count > Self.mostPatterns, let field {
            fields.problem(field.node, "there are \(nodes.count) patterns; a policy has at most \(Self.mostPatterns)")
            return []
        }
        var found: [DataPattern] = []
        for node in nodes {
            let map = fields.mapping(node, "a pattern", keys: ["name", "match"])
            for key in ["name", "match"] where map[key] == nil && !map.isEmpty {
                fields.problem(node, "a pattern must have '\(key)'")
            }
            guard let name = fields.name(map["name"]), let match = fields.text(map["match"]), let place = map["match"] else {
                continue
            }
            do {
                _ = try PatternProgram(match)
            } catch {
                fields.problem(place.node, (error as? AppError)?.message ?? "the pattern cannot be used")
                continue
            }
            if found.contains(where: { $0.name == name }) { fields.problem(node, "there are two patterns named '\(name)'") }
            found.append(DataPattern(name: name, match: match))
        }
        return found
    }

    /// A rule about a class that nothing looks for would protect nothing.
    mutating func dataClasses(_ field: YAMLField?) -> PatternList {
        let known = Detector.classes + patterns.map(\.dataClass)
        let texts = fields.texts(field)
        for (text, node) in texts where !known.contains(where: Pattern(text).matches) {
            let hint = Spelling.nearest(to: text, among: known).map { "; did you mean '\($0)'?" } ?? ""
            fields.problem(
                node,
                text.hasPrefix("pattern.")
                    ? "'\(text)' is not among the 'patterns' of this policy\(hint)"
                    : "nothing finds data of the class '\(text)'\(hint.isEmpty ? "; there are \(known.joined(separator: ", "))" : hint)"
            )
        }
        return PatternList(texts.map(\.text))
    }

    mutating func arguments(_ field: YAMLField?) -> [PolicyRule.ArgumentCondition] {
        guard let field else { return [] }
        guard case .mapping(let mapping) = field.node, (1...50).contains(mapping.count) else {
            fields.problem(field.node, "'arguments' must be 'name: text' lines, such as 'command: \"*rm -rf*\"'")
            return []
        }
        return mapping.compactMap { key, value in
            guard let name = key.scalar?.string else {
                fields.problem(key, "a name of 'arguments' must be a word, with * for any characters")
                return nil
            }
            let texts = fields.texts(YAMLField(key: name, node: value)).map(\.text)
            return texts.isEmpty ? nil : .init(path: Pattern(name), texts: PatternList(texts))
        }
    }
}

extension YAMLFields {
    /// Arguments of a case, as a tool would be called with them.
    mutating func arguments(_ field: YAMLField) -> [ToolArgument] {
        var found: [ToolArgument] = []
        func walk(_ node: Node, _ path: String) {
            let prefix = path.isEmpty ? "" : path + "."
            switch node {
            case .scalar(let scalar): found.append(ToolArgument(path: path, text: scalar.string))
            case .mapping(let mapping): for (key, value) in mapping { walk(value, prefix + (key.scalar?.string ?? "")) }
            case .sequence(let sequence): for (index, value) in sequence.enumerated() { walk(value, "\(prefix)\(index)") }
            case .alias: break
            }
        }
        guard case .mapping = field.node else {
            problem(field.node, "'arguments' must be 'name: value' lines")
            return []
        }
        walk(field.node, "")
        return found
    }
}

extension Detector {
    /// Everything that is found without an admin's pattern.
    package static let classes: [String] = (secrets + personal).reduce(into: []) { names, detector in
        if !names.contains(detector.name) { names.append(detector.name) }
    }
}
