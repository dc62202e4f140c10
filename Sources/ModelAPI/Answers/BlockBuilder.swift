/// A block of an answer that is still coming.
struct BlockBuilder: Sendable {
    enum Kind: Sendable { case text, thinking, redactedThinking, toolUse, other }

    /// The protocol's own number for it.
    let index: Int
    let kind: Kind
    var id = ""
    var name = ""
    /// Text, thinking or the input's JSON, as UTF-8.
    var bytes: [UInt8] = []
    var signature: [UInt8] = []
    /// A block of an unknown kind, as it began.
    var json: String = ""
    var isClosed = false

    init(index: Int, kind: Kind) {
        self.index = index
        self.kind = kind
    }

    var block: AnswerBlock {
        switch kind {
        case .text: .text(String(decoding: bytes, as: UTF8.self))
        case .thinking:
            .thinking(
                text: String(decoding: bytes, as: UTF8.self),
                signature: signature.isEmpty ? nil : String(decoding: signature, as: UTF8.self))
        case .redactedThinking: .redactedThinking(data: String(decoding: bytes, as: UTF8.self))
        case .toolUse:
            .toolUse(
                id: id, name: name, inputJSON: bytes.isEmpty ? "{}" : String(decoding: bytes, as: UTF8.self),
                isComplete: isClosed && (bytes.isEmpty || bytes.withUnsafeBytes { JSONCursor.isObject($0) }))
        case .other: .other(json: bytes.isEmpty ? json : Self.with(input: bytes, in: json))
        }
    }

    /// An unknown kind of tool call: its input came in pieces and takes the place of the empty one it began with.
    private static func with(input: [UInt8], in json: String) -> String {
        guard input.withUnsafeBytes({ JSONCursor.isObject($0) }) else { return json }
        var bytes = Array(json.utf8)
        let place: Range<Int>? = bytes.withUnsafeBytes { raw in
            var cursor = JSONCursor(raw)
            do throws(JSONFailure) {
                var walk = try cursor.enterObject()
                while let key = try cursor.nextKey(&walk) {
                    let range = try cursor.range()
                    if key.equals("input") { return range }
                }
            } catch {}
            return nil
        }
        guard let place else { return json }
        bytes.replaceSubrange(place, with: input)
        return String(decoding: bytes, as: UTF8.self)
    }
}
