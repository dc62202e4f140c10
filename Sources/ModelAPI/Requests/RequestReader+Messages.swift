import Core

/// Messages and Chat Completions: an array of messages whose content is a string or an array of blocks.
extension RequestReader {
    mutating func readMessages() throws {
        guard cursor.peek() == UInt8(ascii: "[") else {
            throw AppError(.badRequest, "\"messages\" must be an array of messages.", field: "messages")
        }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            _ = cursor.peek()
            let start = cursor.at
            guard cursor.peek() == UInt8(ascii: "{") else {
                let field = "messages[\(summary.messageRanges.count)]"
                throw AppError(.badRequest, "\"\(field)\" must be an object with \"role\" and \"content\".", field: field)
            }
            var fields = try cursor.enterObject()
            while let key = try cursor.nextKey(&fields) {
                if key.equals("content") {
                    try scanContent(depth: 0)
                } else if key.equals("audio"), cursor.peek() == UInt8(ascii: "{") {
                    summary.refersToStoredInput = true
                    try cursor.skipValue()
                } else {
                    try cursor.skipValue()
                }
            }
            summary.messageRanges.append(start..<cursor.at)
        }
        try readNewest()
    }

    /// Looks for what is not text. Tool results hold content of their own.
    mutating func scanContent(depth: Int) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "["), depth < 4 else { return try cursor.skipValue() }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            try scanBlock(depth: depth)
        }
    }

    /// A block may name its type or source twice, and servers differ in which they believe: the worst of them counts.
    private mutating func scanBlock(depth: Int) throws(JSONFailure) {
        var isImage = false
        var isDocument = false
        var isUnknown = false
        var sources: [Range<Int>] = []
        var fields = try cursor.enterObject()
        while let key = try cursor.nextKey(&fields) {
            if key.equals("type") {
                guard let type = try cursor.optionalString() else { continue }
                if type.equals("image") || type.equals("image_url") {
                    isImage = true
                } else if type.equals("document") {
                    isDocument = true
                } else if !Self.textKinds.contains(type.string()) {
                    // A file, audio, or a kind that is not known here: bounded by the context alone.
                    isUnknown = true
                }
            } else if key.equals("content") {
                try scanContent(depth: depth + 1)
            } else if key.equals("source") || key.equals("image_url") {
                sources.append(try cursor.range())
            } else {
                try cursor.skipValue()
            }
        }
        if isImage { summary.images += 1 }
        for source in sources {
            if isImage, try !isInline(source) { isUnknown = true }
            if isDocument, try !isPlainText(source) { isUnknown = true }
        }
        if isUnknown || (isImage || isDocument) && sources.isEmpty { summary.refersToStoredInput = true }
    }

    private static let textKinds: Set<String> = [
        "text", "tool_use", "tool_result", "thinking", "redacted_thinking", "refusal", "search_result",
    ]

    /// Whether an image's bytes are in the body: `{"type":"base64",…}`, `{"url":"data:…"}` or `"data:…"`.
    func isInline(_ source: Range<Int>) throws(JSONFailure) -> Bool {
        var inner = JSONCursor(cursor, in: source)
        if inner.peek() == UInt8(ascii: "\"") { return try inner.string().hasPrefix("data:") }
        guard inner.peek() == UInt8(ascii: "{") else { return false }
        var found = false
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            if key.equals("type") {
                guard let type = try inner.optionalString(), type.equals("base64") else { return false }
                found = true
            } else if key.equals("url") {
                if let url = try inner.optionalString(), url.hasPrefix("data:") { found = true } else { return false }
            } else {
                try inner.skipValue()
            }
        }
        return found
    }

    private func isPlainText(_ source: Range<Int>) throws(JSONFailure) -> Bool {
        var inner = JSONCursor(cursor, in: source)
        guard inner.peek() == UInt8(ascii: "{") else { return false }
        var found = false
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            if key.equals("type") {
                guard let type = try inner.optionalString(), type.equals("text") else { return false }
                found = true
            } else {
                try inner.skipValue()
            }
        }
        return found
    }

    // MARK: The newest messages

    private mutating func readNewest() throws(JSONFailure) {
        switch api {
        case .messages:
            guard let last = summary.messageRanges.last else { return }
            let message = try NewestMessage(cursor, in: last)
            if message.role == "user" {
                summary.lastUserText = message.texts.last
                summary.toolResults = message.toolResults
            }
        case .chatCompletions:
            var results: [RequestSummary.ToolResult] = []
            for range in summary.messageRanges.reversed() {
                let message = try NewestMessage(cursor, in: range)
                if message.role == "user", results.isEmpty { summary.lastUserText = message.texts.last }
                guard message.role == "tool", let id = message.toolCallID else { break }
                results.append(.init(id: id, text: message.texts.joined(separator: "\n"), isError: false))
            }
            summary.toolResults = results.reversed()
        case .responses, .gemini: break
        }
    }
}
