import Core

/// OpenAI Responses: `input` is a text or an array of items, each a message, a call, a result, reasoning, or a reference.
extension RequestReader {
    mutating func readResponsesField(_ key: String) throws {
        switch key {
        case "model": summary.model = try modelName()
        case "stream": summary.stream = try bool(key) ?? false
        case "max_output_tokens": summary.maxOutputTokens = try count(key)
        case "background": summary.isBackground = try bool(key) ?? false
        case "input": try readInput()
        case "tools": try readTools()
        case "service_tier": try readServiceTier()
        case "previous_response_id", "conversation", "prompt": try noticeStored()
        default: try cursor.skipValue()
        }
    }

    private mutating func readInput() throws {
        if cursor.peek() == UInt8(ascii: "\"") {
            summary.lastUserText = try cursor.string().string()
            return
        }
        guard cursor.peek() == UInt8(ascii: "[") else {
            throw AppError(.badRequest, "\"input\" must be a string or an array of items.", field: "input")
        }
        var newest: [ResponsesItem] = []
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                let field = "input[\(summary.messageRanges.count)]"
                throw AppError(.badRequest, "\"\(field)\" must be an object, an item of the conversation.", field: field)
            }
            let start = cursor.at
            let item = try ResponsesItem(&cursor, &summary)
            summary.messageRanges.append(start..<cursor.at)
            // Only the results at the end, and the item that is the last, are new.
            if !item.isResult { newest.removeAll() }
            newest.append(item)
        }
        guard let last = newest.last else { return }
        if last.role == "user" { summary.lastUserText = last.texts.isEmpty ? nil : last.texts.joined(separator: "\n") }
        summary.toolResults = newest.filter(\.isResult).map {
            .init(id: $0.callID, text: $0.texts.joined(separator: "\n"), isError: false)
        }
    }
}

/// One item of the input: what it says, and into the summary what it refers to.
struct ResponsesItem {
    var role = ""
    var callID = ""
    var texts: [String] = []
    var isResult = false

    private static let selfContained: Set<String> = [
        "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning",
        "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call",
        "apply_patch_call_output", "compaction",
    ]

    init(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                guard let type = try cursor.optionalString()?.string() else { continue }
                if !Self.selfContained.contains(type) { summary.refersToStoredInput = true }
                if type.hasSuffix("_output") { isResult = true }
            } else if key.equals("role") {
                role = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("call_id") {
                callID = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("content") || key.equals("output") {
                try readContent(&cursor, &summary)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readContent(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        if cursor.peek() == UInt8(ascii: "\"") {
            texts.append(try cursor.string().string())
            return
        }
        guard cursor.peek() == UInt8(ascii: "[") else { return try cursor.skipValue() }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            try readPart(&cursor, &summary)
        }
    }

    private mutating func readPart(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        var isImage = false
        var isInline = false
        var refers = false
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                guard let type = try cursor.optionalString()?.string() else { continue }
                if type == "input_image" {
                    isImage = true
                } else if !["input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"].contains(type) {
                    refers = true
                }
            } else if key.equals("text") {
                if let text = try cursor.optionalString() { texts.append(text.string()) }
            } else if key.equals("image_url") {
                if let url = try cursor.optionalString(), url.hasPrefix("data:") { isInline = true } else { refers = true }
            } else if key.equals("file_id") || key.equals("file_url") {
                if try !cursor.skipNull() {
                    try cursor.skipValue()
                    refers = true
                }
            } else {
                try cursor.skipValue()
            }
        }
        if isImage { summary.images += 1 }
        if refers || isImage && !isInline { summary.refersToStoredInput = true }
    }
}
