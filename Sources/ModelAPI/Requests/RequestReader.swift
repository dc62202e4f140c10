import Core

/// Reads a `RequestSummary`. Fields that decide something are refused when they come twice or in another spelling: parsers of
/// other servers would not agree which one counts, and a policy must judge what the provider will read.
struct RequestReader {
    private var cursor: JSONCursor
    private let api: ModelProtocol
    private var summary = RequestSummary()
    private var seen: Set<String> = []

    private static let deciding: Set<String> = [
        "model", "stream", "max_tokens", "max_completion_tokens", "n", "messages", "tools", "stream_options",
    ]

    init(_ bytes: UnsafeRawBufferPointer, _ api: ModelProtocol) {
        cursor = JSONCursor(bytes)
        self.api = api
    }

    mutating func read() throws(AppError) -> RequestSummary {
        guard !cursor.isAtEnd else { throw AppError(.badRequest, "The request body is empty; expected a JSON object.") }
        guard cursor.peek() == UInt8(ascii: "{") else {
            throw AppError(.badRequest, "The request body is no JSON object; it must begin with '{'.")
        }
        do {
            try readObject()
            try cursor.expectEnd()
        } catch let failure as JSONFailure {
            throw AppError(
                .badRequest, "The request body is not valid JSON at byte \(failure.offset): expected \(failure.expected).")
        } catch let error as AppError {
            throw error
        } catch {
            throw AppError(.internal, "The request body could not be read.", cause: error)
        }
        guard !summary.model.isEmpty else {
            throw AppError(.badRequest, "The request names no model; expected \"model\": \"<id>\".", field: "model")
        }
        return summary
    }

    private mutating func readObject() throws {
        var limits: [String: TokenCount] = [:]
        var walk = try cursor.enterObject()
        while let rawKey = try cursor.nextKey(&walk) {
            let key = rawKey.string()
            try check(key)
            switch key {
            case "model": summary.model = try modelName()
            case "stream": summary.stream = try bool(key) ?? false
            case "max_tokens", "max_completion_tokens": limits[key] = try count(key)
            case "n": summary.answers = max(1, try count(key) ?? 1)
            case "messages": try readMessages()
            case "tools": try readTools()
            case "stream_options": try readStreamOptions()
            case "metadata": try readMetadata()
            case "mcp_servers", "container", "web_search_options", "previous_response_id", "conversation":
                // Tools and state on the provider's side; absent when empty.
                let range = try cursor.range()
                if !["null", "[]", "{}", "\"\""].contains(cursor.text(range)) { summary.refersToStoredInput = true }
            default: try cursor.skipValue()
            }
        }
        summary.maxOutputTokens = limits["max_completion_tokens"] ?? limits["max_tokens"]
        // Whichever a server obeys, the hold covers it.
        if let a = limits["max_tokens"], let b = limits["max_completion_tokens"] { summary.maxOutputTokens = max(a, b) }
    }

    private mutating func check(_ key: String) throws(AppError) {
        if Self.deciding.contains(key) {
            guard seen.insert(key).inserted else {
                throw AppError(.badRequest, "The request body has \"\(key)\" twice; send it once.", field: key)
            }
        } else if key.utf8.count <= 24, Self.deciding.contains(key.lowercased()) {
            throw AppError(
                .badRequest, "The request body has \"\(key)\"; the field is spelled \"\(key.lowercased())\".", field: key)
        }
    }

    // MARK: Fields

    private mutating func modelName() throws -> String {
        guard let name = try cursor.optionalString()?.string() else {
            throw AppError(.badRequest, "\"model\" must be a string, the id of a model.", field: "model")
        }
        guard !name.isEmpty, name.utf8.count <= 256 else {
            throw AppError(.badRequest, "\"model\" must have 1 to 256 bytes; it has \(name.utf8.count).", field: "model")
        }
        return name
    }

    private mutating func bool(_ field: String) throws -> Bool? {
        if try cursor.skipNull() { return nil }
        guard let value = try cursor.optionalBool() else {
            throw AppError(.badRequest, "\"\(field)\" must be true or false.", field: field)
        }
        return value
    }

    private mutating func count(_ field: String) throws -> TokenCount? {
        if try cursor.skipNull() { return nil }
        guard let value = try cursor.optionalInt(), (0...UsageTally.most).contains(value) else {
            throw AppError(.badRequest, "\"\(field)\" must be a whole number from 0 to \(UsageTally.most).", field: field)
        }
        return value
    }

    private mutating func readStreamOptions() throws {
        let range = try cursor.range()
        summary.streamOptions = range
        var inner = JSONCursor(cursor, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return }
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            let value = try inner.range()
            guard key.equals("include_usage") else { continue }
            guard summary.includeUsageValue == nil else {
                throw AppError(
                    .badRequest, "The request body has \"stream_options.include_usage\" twice; send it once.",
                    field: "stream_options.include_usage")
            }
            summary.includeUsageValue = value
            switch inner.text(value) {
            case "true": summary.includeUsage = true
            case "false": summary.includeUsage = false
            case "null": break
            default:
                throw AppError(
                    .badRequest, "\"stream_options.include_usage\" must be true or false.", field: "stream_options.include_usage")
            }
        }
    }

    private mutating func readMetadata() throws {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("user_id") {
                summary.metadataUserID = try cursor.optionalString()?.string()
            } else {
                try cursor.skipValue()
            }
        }
    }

    /// A tool with another `type` than these runs at the provider (web search, code execution, file search) or brings more than
    /// its text (computer use).
    private mutating func readTools() throws {
        guard cursor.peek() == UInt8(ascii: "[") else { return try cursor.skipValue() }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            summary.hasTools = true
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            var fields = try cursor.enterObject()
            while let key = try cursor.nextKey(&fields) {
                if key.equals("type"), let type = try cursor.optionalString() {
                    if !isClientTool(type.string()) { summary.refersToStoredInput = true }
                } else if !key.equals("type") {
                    try cursor.skipValue()
                }
            }
        }
    }

    private func isClientTool(_ type: String) -> Bool {
        if type == "custom" || type == "function" { return true }
        return ["bash_", "text_editor_", "computer_", "memory_"].contains { type.hasPrefix($0) }
    }

    // MARK: Messages

    private mutating func readMessages() throws {
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
    private mutating func scanContent(depth: Int) throws(JSONFailure) {
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
    private func isInline(_ source: Range<Int>) throws(JSONFailure) -> Bool {
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
        }
    }
}

extension JSONString {
    func hasPrefix(_ prefix: String) -> Bool {
        isEscaped ? string().hasPrefix(prefix) : UnsafeBufferPointer(start: start, count: count).starts(with: prefix.utf8)
    }
}
