import Core

/// A value in a document that was checked to be JSON, with the path to it, so that whoever refuses it can name it.
///
/// For requests that are read whole, to be written anew in another protocol. What only passes by is read with `JSONCursor`.
/// Lives as long as the bytes that the cursor was made of.
struct JSONNode {
    /// Longer arrays are refused: no client sends so many messages, parts or tools.
    static let mostElements = 100_000

    private let cursor: JSONCursor
    private let parent: String
    private let step: Step

    private enum Step {
        case root
        case key(String)
        case index(Int)
    }

    /// - Throws: `badRequest` when the bytes are not one JSON object.
    static func document(_ bytes: UnsafeRawBufferPointer) throws(AppError) -> JSONNode {
        var cursor = JSONCursor(bytes)
        do throws(JSONFailure) {
            guard cursor.peek() == UInt8(ascii: "{") else { throw cursor.failure("an object") }
            let range = try cursor.range()
            try cursor.expectEnd()
            return JSONNode(cursor: JSONCursor(cursor, in: range), parent: "", step: .root)
        } catch {
            throw AppError(.badRequest, "The request body is not valid JSON at byte \(error.offset): expected \(error.expected).")
        }
    }

    private init(cursor: JSONCursor, parent: String, step: Step) {
        self.cursor = cursor
        self.parent = parent
        self.step = step
    }

    /// E.g. `messages[3].content`; empty for the document.
    var path: String {
        switch step {
        case .root: ""
        case .key(let key): parent.isEmpty ? key : "\(parent).\(key)"
        case .index(let index): "\(parent)[\(index)]"
        }
    }

    private var first: UInt8 { cursor.at < cursor.end ? cursor.base[cursor.at] : 0 }
    var isObject: Bool { first == UInt8(ascii: "{") }
    var isArray: Bool { first == UInt8(ascii: "[") }
    var isString: Bool { first == UInt8(ascii: "\"") }
    var isNull: Bool { first == UInt8(ascii: "n") }

    /// Where it lies in the document.
    var range: Range<Int> { cursor.at..<cursor.end }

    /// The value as it was written.
    var raw: String { cursor.text(cursor.at..<cursor.end) }

    func refused(_ expected: String) -> AppError {
        // A client may name a field as long as it likes.
        let place = String(path.prefix(200))
        return AppError(.badRequest, "\"\(place)\" must be \(expected).", field: place)
    }

    // MARK: Containers

    /// - Throws: `badRequest` also for a key that comes twice: other parsers would not agree which one counts.
    func fields() throws(AppError) -> JSONFields {
        guard isObject else { throw refused("an object") }
        var cursor = cursor
        let path = path
        var entries: [JSONFields.Entry] = []
        var seen: Set<String> = []
        do throws(JSONFailure) {
            var walk = try cursor.enterObject()
            while let key = try cursor.nextKey(&walk) {
                let name = key.string()
                let node = JSONNode(cursor: JSONCursor(cursor, in: try cursor.range()), parent: path, step: .key(name))
                guard seen.insert(name).inserted else { throw JSONFailure(offset: -1, expected: node.path) }
                entries.append(.init(key: name, node: node))
            }
        } catch {
            if error.offset < 0 { throw RequestReader.twice(String(error.expected.prefix(200))) }
            throw refused("an object")
        }
        return JSONFields(path: path, entries: entries)
    }

    func elements() throws(AppError) -> [JSONNode] {
        guard isArray else { throw refused("an array") }
        var cursor = cursor
        let path = path
        var nodes: [JSONNode] = []
        do throws(JSONFailure) {
            var walk = try cursor.enterArray()
            while try cursor.nextElement(&walk) {
                guard nodes.count < Self.mostElements else { throw cursor.failure("fewer elements") }
                let range = try cursor.range()
                nodes.append(JSONNode(cursor: JSONCursor(cursor, in: range), parent: path, step: .index(nodes.count)))
            }
        } catch {
            throw refused("an array of at most \(Self.mostElements) elements")
        }
        return nodes
    }

    // MARK: Scalars

    /// - Throws: `badRequest` also for a text that is no UTF-8. A lone half of an escaped surrogate pair becomes U+FFFD.
    func string() throws(AppError) -> String {
        var cursor = cursor
        guard isString, let text = try? cursor.string() else { throw refused("a string") }
        guard String(validating: UnsafeBufferPointer(start: text.start, count: text.count), as: UTF8.self) != nil else {
            throw refused("valid UTF-8")
        }
        return text.string()
    }

    func bool() throws(AppError) -> Bool {
        switch raw {
        case "true": return true
        case "false": return false
        default: throw refused("true or false")
        }
    }

    func count() throws(AppError) -> TokenCount {
        var cursor = cursor
        guard let value = try? cursor.optionalInt(), (0...UsageTally.most).contains(value) else {
            throw refused("a whole number from 0 to \(UsageTally.most)")
        }
        return value
    }

    func number() throws(AppError) -> JSONNumber {
        guard let number = JSONNumber(raw) else { throw refused("a number") }
        return number
    }

    /// An object as it was written.
    func object() throws(AppError) -> String {
        guard isObject else { throw refused("an object") }
        return raw
    }
}

/// A number in the digits in which it was written.
package struct JSONNumber: Sendable, Hashable {
    package let text: String
    package let value: Double

    /// Nil for what is no JSON number, is longer than 40 characters or is not finite.
    init?(_ text: String) {
        guard text.utf8.count <= 40, let first = text.utf8.first, first == 0x2D || (0x30...0x39).contains(first),
            let value = Double(text), value.isFinite
        else { return nil }
        self.text = text
        self.value = value
    }
}
