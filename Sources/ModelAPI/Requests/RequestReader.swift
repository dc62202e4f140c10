import Core

/// Reads a `RequestSummary`. Fields that decide something are refused when they come twice or in another spelling: parsers of
/// other servers would not agree which one counts, and a policy must judge what the provider will read.
struct RequestReader {
    var cursor: JSONCursor
    let api: ModelProtocol
    var summary = RequestSummary()
    private var seen: Set<String> = []

    private static let chat: Set<String> = [
        "model", "stream", "max_tokens", "max_completion_tokens", "n", "messages", "tools", "stream_options",
        "service_tier",
    ]
    private static let responses: Set<String> = [
        "model", "stream", "max_output_tokens", "input", "tools", "previous_response_id", "background",
        "service_tier",
    ]
    private static let gemini: Set<String> = ["contents", "tools", "generationconfig", "cachedcontent"]

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
        // Gemini names the model in the path.
        guard !summary.model.isEmpty || api == .gemini else {
            throw AppError(.badRequest, "The request names no model; expected \"model\": \"<id>\".", field: "model")
        }
        return summary
    }

    mutating func readObject() throws {
        var walk = try cursor.enterObject()
        while let rawKey = try cursor.nextKey(&walk) {
            let key = rawKey.string()
            switch api {
            case .messages, .chatCompletions:
                try check(key, Self.chat)
                try readChatField(key)
            case .responses:
                try check(key, Self.responses)
                try readResponsesField(key)
            case .gemini:
                try readGeminiField(try checkGemini(key))
            }
        }
    }

    private mutating func readChatField(_ key: String) throws {
        switch key {
        case "model": summary.model = try modelName()
        case "stream": summary.stream = try bool(key) ?? false
        case "max_tokens", "max_completion_tokens":
            // Whichever of the two a server obeys, the hold covers it.
            if let limit = try count(key) { summary.maxOutputTokens = max(limit, summary.maxOutputTokens ?? 0) }
        case "n": summary.answers = try answers(key) ?? 1
        case "messages": try readMessages()
        case "tools": try readTools()
        case "stream_options": try readStreamOptions()
        case "metadata": try readMetadata()
        case "service_tier": try readServiceTier()
        case "mcp_servers", "container", "web_search_options": try noticeStored()
        default: try cursor.skipValue()
        }
    }

    /// A field for tools or state on the provider's side, unless it is empty.
    mutating func noticeStored() throws {
        let range = try cursor.range()
        if !["null", "[]", "{}", "\"\"", "false"].contains(cursor.text(range)) { summary.refersToStoredInput = true }
    }

    private mutating func check(_ key: String, _ deciding: Set<String>) throws(AppError) {
        if deciding.contains(key) {
            guard seen.insert(key).inserted else { throw Self.twice(key) }
        } else if key.utf8.count <= 24, deciding.contains(key.lowercased()) {
            throw AppError(
                .badRequest, "The request body has \"\(key)\"; the field is spelled \"\(key.lowercased())\".", field: key)
        }
    }

    /// Gemini takes `generationConfig` and `generation_config` alike: both are one field, in lower case without underscores.
    private mutating func checkGemini(_ key: String) throws(AppError) -> String {
        let plain = key.lowercased().filter { $0 != "_" }
        if Self.gemini.contains(plain), !seen.insert(plain).inserted { throw Self.twice(key) }
        return plain
    }

    static func twice(_ field: String) -> AppError {
        AppError(.badRequest, "The request body has \"\(field)\" twice; send it once.", field: field)
    }

    // MARK: Fields

    mutating func modelName() throws -> String {
        let range = try cursor.range()
        var value = JSONCursor(cursor, in: range)
        summary.modelValue = range
        guard let name = try value.optionalString()?.string() else {
            throw AppError(.badRequest, "\"model\" must be a string, the id of a model.", field: "model")
        }
        guard !name.isEmpty, name.utf8.count <= 256 else {
            throw AppError(.badRequest, "\"model\" must have 1 to 256 bytes; it has \(name.utf8.count).", field: "model")
        }
        return name
    }

    mutating func bool(_ field: String) throws -> Bool? {
        if try cursor.skipNull() { return nil }
        guard let value = try cursor.optionalBool() else {
            throw AppError(.badRequest, "\"\(field)\" must be true or false.", field: field)
        }
        return value
    }

    mutating func count(_ field: String) throws -> TokenCount? {
        if try cursor.skipNull() { return nil }
        guard let value = try cursor.optionalInt(), (0...UsageTally.most).contains(value) else {
            throw AppError(.badRequest, "\"\(field)\" must be a whole number from 0 to \(UsageTally.most).", field: field)
        }
        return value
    }

    /// How many answers a call may ask for: as many as OpenAI gives.
    static let mostAnswers = 128

    /// At least 1.
    mutating func answers(_ field: String) throws -> Int? {
        guard let value = try count(field) else { return nil }
        guard value <= Self.mostAnswers else {
            throw AppError(
                .badRequest, "\"\(field)\" must be a whole number from 1 to \(Self.mostAnswers); it is \(value).", field: field)
        }
        return max(1, value)
    }

    mutating func readServiceTier() throws {
        summary.serviceTier = try cursor.optionalString().flatMap { ServiceTier(word: $0.string()) }
    }

    mutating func readStreamOptions() throws {
        let range = try cursor.range()
        summary.streamOptions = range
        var inner = JSONCursor(cursor, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return }
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            let value = try inner.range()
            guard key.equals("include_usage") else { continue }
            guard summary.includeUsageValue == nil else {
                throw Self.twice("stream_options.include_usage")
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

    mutating func readMetadata() throws {
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
    mutating func readTools() throws {
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

    func isClientTool(_ type: String) -> Bool {
        if type == "custom" || type == "function" { return true }
        if api == .responses { return ["local_shell", "apply_patch", "shell"].contains(type) }
        return ["bash_", "text_editor_", "computer_", "memory_"].contains { type.hasPrefix($0) }
    }
}

extension JSONString {
    func hasPrefix(_ prefix: String) -> Bool {
        isEscaped ? string().hasPrefix(prefix) : UnsafeBufferPointer(start: start, count: count).starts(with: prefix.utf8)
    }
}
