import NIOCore

/// Every text in a JSON body, and where it stands: whatever the protocol, and also where a field is not known.
///
/// Only names that the protocols give (ids, types, roles) and signatures are left out: they are not for people to write into.
package struct BodyTexts: Sendable {
    /// What a text is to the conversation.
    package enum Place: Sendable { case said, toolResult, toolInput }

    package struct Text: Sendable {
        /// The bytes between the quotes, still escaped.
        package var range: Range<Int>
        package var isEscaped: Bool
        fileprivate var node: Int
        fileprivate var index: Int
        fileprivate var key: Range<Int>?
    }

    private struct Node: Sendable {
        var parent: Int
        var key: Range<Int>?
        var index: Int
        var place: Place?
        /// It carries proof that its content is unchanged, or is of a kind that only the provider can read.
        var isSigned = false
        /// Its fields are the tool's, not the protocol's.
        var isFree = false
        /// Its number among others of its kind, where the protocol gives it one.
        var number = ""

        /// In one order, whatever the order of the fields.
        mutating func add(number new: String) {
            number = (number.split(separator: ";") + new.split(separator: ";")).sorted().map { "\($0);" }.joined()
        }
    }

    package private(set) var texts: [Text] = []
    private var nodes: [Node] = []
    private let body: ByteBuffer

    /// - Throws: `JSONFailure` for what is no JSON.
    ///
    /// - Parameter isFree: its fields are a tool's, not a protocol's.
    package init(_ body: ByteBuffer, isFree: Bool = false) throws {
        self.body = body
        let result: Result<([Text], [Node]), JSONFailure> = body.withUnsafeReadableBytes { bytes in
            var walker = Walker(bytes)
            do throws(JSONFailure) {
                try walker.walk(isFree: isFree)
                return .success((walker.texts, walker.nodes))
            } catch {
                return .failure(error)
            }
        }
        (texts, nodes) = try result.get()
    }

    package func place(of text: Text) -> Place {
        var node = text.node
        while node >= 0 {
            if let place = nodes[node].place { return place }
            node = nodes[node].parent
        }
        return .said
    }

    /// Changing the text would break a signature.
    package func isSigned(_ text: Text) -> Bool {
        var node = text.node
        while node >= 0 {
            if nodes[node].isSigned { return true }
            node = nodes[node].parent
        }
        return false
    }

    /// E.g. `messages[3].content[0].text`, at most 200 characters of it. Names inside of a tool's input are the client's own words, and
    /// left out.
    package func path(of text: Text) -> String {
        var steps: [String] = []
        var node = text.node
        func step(_ key: Range<Int>?, _ index: Int) -> String { key.map { ".\(name($0))" } ?? "[\(index)]" }
        var last = step(text.key, text.index)
        while node >= 0 {
            if nodes[node].isFree { steps = [] } else { steps.append(last) }
            last = step(nodes[node].key, nodes[node].index)
            node = nodes[node].parent
        }
        return String(steps.reversed().joined().drop { $0 == "." }.prefix(200))
    }

    /// Like the path, but what has a number of its own goes by that, not by its place in a list: the same in every event of a stream.
    func channel(of text: Text) -> String {
        var steps = [text.key.map { ".\(name($0))" } ?? "[]"]
        var node = text.node
        while node >= 0 {
            let it = nodes[node]
            steps.append((it.key.map { ".\(name($0))" } ?? (node == 0 ? "" : "[]")) + it.number)
            node = it.parent
        }
        return steps.reversed().joined()
    }

    /// Of the body itself.
    var number: String { nodes.first?.number ?? "" }

    private func name(_ range: Range<Int>) -> String {
        let text = body.getString(at: body.readerIndex + range.lowerBound, length: min(range.count, 40)) ?? ""
        return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") } ? text : "…"
    }

    /// The bytes of a text as the body has them.
    package func withBytes<R>(of text: Text, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        self.body.withUnsafeReadableBytes { body(UnsafeRawBufferPointer(rebasing: $0[text.range])) }
    }

    // MARK: Walking

    private struct Walker {
        var cursor: JSONCursor
        var texts: [Text] = []
        var nodes: [Node] = []

        init(_ bytes: UnsafeRawBufferPointer) { cursor = JSONCursor(bytes) }

        mutating func walk(isFree: Bool) throws(JSONFailure) {
            try value(parent: -1, key: nil, index: 0, isFree: isFree, depth: 0)
            try cursor.expectEnd()
        }

        private mutating func value(parent: Int, key: Range<Int>?, index: Int, isFree: Bool, depth: Int) throws(JSONFailure) {
            if depth > JSONCursor.deepest { throw cursor.failure("no more than \(JSONCursor.deepest) levels") }
            switch cursor.peek() {
            case UInt8(ascii: "\""): try string(parent, key, index)
            case UInt8(ascii: "{"): try object(parent, key, index, isFree, depth)
            case UInt8(ascii: "["):
                let node = nodes.count
                nodes.append(Node(parent: parent, key: key, index: index, isFree: isFree))
                var walk = try cursor.enterArray()
                var position = 0
                while try cursor.nextElement(&walk) {
                    try value(parent: node, key: nil, index: position, isFree: isFree, depth: depth + 1)
                    position += 1
                }
            default: try cursor.skipValue()
            }
        }

        private mutating func string(_ parent: Int, _ key: Range<Int>?, _ index: Int) throws(JSONFailure) {
            let text = try cursor.string()
            if text.count == 0 { return }
            let start = UnsafePointer(text.start) - cursor.base
            texts.append(
                Text(
                    range: start..<start + text.count, isEscaped: text.isEscaped, node: parent, index: index, key: key))
        }

        private mutating func object(
            _ parent: Int, _ key: Range<Int>?, _ index: Int, _ isFree: Bool, _ depth: Int
        ) throws(JSONFailure) {
            let node = nodes.count
            nodes.append(Node(parent: parent, key: key, index: index, isFree: isFree))
            var walk = try cursor.enterObject()
            while let name = try cursor.nextKey(&walk) {
                let start = name.start - cursor.base
                let range = start..<start + name.count
                if isFree {
                    // A tool's own field may be named by what must not be told.
                    if name.count >= 8 {
                        texts.append(Text(range: range, isEscaped: name.isEscaped, node: node, index: 0, key: range))
                    }
                    try value(parent: node, key: range, index: 0, isFree: true, depth: depth + 1)
                    continue
                }
                let word = name.count <= 32 ? name.string() : ""
                switch word {
                case "type", "role":
                    if let text = try cursor.optionalString(), text.count <= 64 { note(text.string(), node) }
                case "index", "output_index", "content_index", "summary_index":
                    if let number = try cursor.optionalInt() { nodes[node].add(number: "\(word.prefix(1))\(number);") }
                case "thought":
                    // Gemini's thoughts come back with their signature.
                    if try cursor.optionalBool() == true {
                        nodes[node].isSigned = true
                        nodes[node].add(number: "t;")
                    }
                case "signature", "thoughtSignature", "thought_signature", "encrypted_content":
                    if let text = try cursor.optionalString(), text.count > 0 { nodes[node].isSigned = true }
                case "id", "tool_use_id", "tool_call_id", "call_id", "model", "item_id", "response_id", "previous_response_id",
                    "obfuscation":
                    // Longer ones are none.
                    let place = cursor
                    if let text = try cursor.optionalString(), text.count > 128 {
                        cursor = place
                        try value(parent: node, key: range, index: 0, isFree: false, depth: depth + 1)
                    }
                default:
                    let isFree = Self.free.contains(word)
                    let first = nodes.count
                    try value(parent: node, key: range, index: 0, isFree: isFree && nodes[node].parent >= 0, depth: depth + 1)
                    if let place = Self.places[word] {
                        if nodes.count > first {
                            nodes[first].place = nodes[first].place ?? place
                        } else if word == "arguments" || word == "partial_json" {
                            nodes[node].place = nodes[node].place ?? place
                        }
                    }
                }
            }
        }

        private mutating func note(_ word: String, _ node: Int) {
            // Tools are described by objects of the type "function": those say nothing of a result.
            if word == "tool" || word == "tool_result" || word.hasSuffix("_output") || word.hasSuffix("_tool_result") {
                nodes[node].place = .toolResult
            } else if word == "tool_use" || word == "server_tool_use" || word.hasSuffix("_call") {
                nodes[node].place = .toolInput
            } else if word == "redacted_thinking" || word == "reasoning" {
                nodes[node].isSigned = true
            }
        }

        /// What a tool is called with and what it gave, as JSON.
        private static let free: Set<String> = ["input", "args", "arguments", "response"]
        private static let places: [String: Place] = [
            "tool_calls": .toolInput, "function_call": .toolInput, "functionCall": .toolInput, "functionResponse": .toolResult,
            "arguments": .toolInput, "partial_json": .toolInput, "toolUse": .toolInput, "toolResult": .toolResult,
        ]
    }
}
