import Core

/// The fields of an object, taken one by one. What nobody took is what nobody understood: it is named by `remainder`, so that no
/// field can be overlooked.
struct JSONFields {
    struct Entry {
        var key: String
        var node: JSONNode
        var isTaken = false
    }

    let path: String
    private var entries: [Entry]

    init(path: String, entries: [Entry]) {
        self.path = path
        self.entries = entries
    }

    /// Nil when the field is missing or null.
    mutating func take(_ key: String) -> JSONNode? {
        guard let place = entries.firstIndex(where: { $0.key == key }) else { return nil }
        entries[place].isTaken = true
        return entries[place].node.isNull ? nil : entries[place].node
    }

    mutating func require(_ key: String, _ expected: String) throws(AppError) -> JSONNode {
        if let node = take(key) { return node }
        let place = path.isEmpty ? key : "\(path).\(key)"
        throw AppError(.badRequest, "\"\(place.prefix(200))\" is missing; expected \(expected).", field: String(place.prefix(200)))
    }

    /// Fields that say nothing to another provider: ids and states of what was an answer once.
    mutating func ignore(_ keys: String...) {
        for key in keys { _ = take(key) }
    }

    // MARK: Kinds; nil when missing or null

    mutating func string(_ key: String) throws(AppError) -> String? {
        guard let node = take(key) else { return nil }
        return try node.string()
    }

    mutating func bool(_ key: String) throws(AppError) -> Bool? {
        guard let node = take(key) else { return nil }
        return try node.bool()
    }

    mutating func count(_ key: String) throws(AppError) -> TokenCount? {
        guard let node = take(key) else { return nil }
        return try node.count()
    }

    mutating func number(_ key: String) throws(AppError) -> JSONNumber? {
        guard let node = take(key) else { return nil }
        return try node.number()
    }

    mutating func fields(_ key: String) throws(AppError) -> JSONFields? {
        guard let node = take(key) else { return nil }
        return try node.fields()
    }

    mutating func elements(_ key: String) throws(AppError) -> [JSONNode] {
        guard let node = take(key) else { return [] }
        return try node.elements()
    }

    /// The fields that were not taken and ask for something: those that are null, false, empty or `auto` do not.
    var remainder: [String] {
        entries.filter { !$0.isTaken && !["null", "false", "[]", "{}", "\"\"", "\"auto\"", "\"default\""].contains($0.node.raw) }
            .map(\.node.path)
    }
}
