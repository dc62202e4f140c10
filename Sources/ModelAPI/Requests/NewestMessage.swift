/// One message of a request, read whole: its texts and tool results.
struct NewestMessage {
    var role = ""
    var toolCallID: String?
    var texts: [String] = []
    var toolResults: [RequestSummary.ToolResult] = []

    init(_ other: JSONCursor, in range: Range<Int>) throws(JSONFailure) {
        var cursor = JSONCursor(other, in: range)
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("role") {
                role = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("tool_call_id") {
                toolCallID = try cursor.optionalString()?.string()
            } else if key.equals("content") {
                try readContent(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readContent(_ cursor: inout JSONCursor) throws(JSONFailure) {
        if cursor.peek() == UInt8(ascii: "\"") {
            texts = [try cursor.string().string()]
            return
        }
        guard cursor.peek() == UInt8(ascii: "[") else { return try cursor.skipValue() }
        texts = []
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            try readBlock(&cursor)
        }
    }

    private mutating func readBlock(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var type: JSONString?
        var text: JSONString?
        var id: JSONString?
        var isError = false
        var content: Range<Int>?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                type = try cursor.optionalString()
            } else if key.equals("text") {
                text = try cursor.optionalString()
            } else if key.equals("tool_use_id") {
                id = try cursor.optionalString()
            } else if key.equals("is_error") {
                isError = try cursor.optionalBool() ?? false
            } else if key.equals("content") {
                content = try cursor.range()
            } else {
                try cursor.skipValue()
            }
        }
        guard let type else { return }
        if type.equals("text"), let text {
            texts.append(text.string())
        } else if type.equals("tool_result"), let id {
            var result = RequestSummary.ToolResult(id: id.string(), text: "", isError: isError)
            if let content { result.text = try Self.text(cursor, content) }
            toolResults.append(result)
        }
    }

    /// The texts inside a tool result, joined by line breaks; pictures are left out.
    private static func text(_ other: JSONCursor, _ range: Range<Int>) throws(JSONFailure) -> String {
        var cursor = JSONCursor(other, in: range)
        var inner = NewestMessage()
        try inner.readContent(&cursor)
        return inner.texts.joined(separator: "\n")
    }

    private init() {}
}
