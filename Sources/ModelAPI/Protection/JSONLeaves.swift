import Core

/// The values in a JSON object, each with the path to it: what rules about a tool's arguments are asked about.
package enum JSONLeaves {
    /// More values, or longer texts, are no arguments that a rule could be asked about.
    static let most = 5000
    static let longest = 1 << 20

    package struct Leaf: Sendable, Equatable {
        /// E.g. `files.0.path`.
        package var path: String
        /// Texts without their quotes; numbers and words as they stand.
        package var text: String
    }

    /// Nil for what is no object, is too large, or names a field twice: programs would not agree which one counts.
    package static func read(_ json: String) -> [Leaf]? {
        guard json.utf8.count <= longest else { return nil }
        var json = json
        return json.withUTF8 { bytes in
            var walker = Walker(cursor: JSONCursor(UnsafeRawBufferPointer(bytes)))
            guard walker.cursor.peek() == UInt8(ascii: "{"), (try? walker.value("", depth: 0)) != nil, walker.cursor.isAtEnd else {
                return nil
            }
            return walker.leaves
        }
    }

    private struct Walker {
        var cursor: JSONCursor
        var leaves: [Leaf] = []

        mutating func value(_ path: String, depth: Int) throws(JSONFailure) {
            if depth > JSONCursor.deepest || leaves.count > JSONLeaves.most { throw cursor.failure("less") }
            let prefix = path.isEmpty ? "" : path + "."
            switch cursor.peek() {
            case UInt8(ascii: "{"):
                var seen: Set<String> = []
                var walk = try cursor.enterObject()
                while let key = try cursor.nextKey(&walk) {
                    let name = key.string()
                    guard seen.insert(name).inserted else { throw cursor.failure("each name once") }
                    try value(prefix + name, depth: depth + 1)
                }
            case UInt8(ascii: "["):
                var walk = try cursor.enterArray()
                var index = 0
                while try cursor.nextElement(&walk) {
                    try value("\(prefix)\(index)", depth: depth + 1)
                    index += 1
                }
            case UInt8(ascii: "\""): leaves.append(Leaf(path: path, text: try cursor.string().string()))
            default:
                let range = try cursor.range()
                leaves.append(Leaf(path: path, text: cursor.text(range)))
            }
        }
    }
}
