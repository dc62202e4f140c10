import Core

/// Gemini: `contents` of `parts`. Each field comes in camel case or with underscores.
extension RequestReader {
    mutating func readGeminiField(_ plain: String) throws {
        switch plain {
        case "contents": try readContents()
        case "generationconfig": try readGenerationConfig()
        case "tools": try readGeminiTools()
        case "cachedcontent": try noticeStored()
        default: try cursor.skipValue()
        }
    }

    private mutating func readGenerationConfig() throws {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            switch key.withoutUnderscores {
            case "maxoutputtokens":
                // Given twice, the larger one is held.
                if let limit = try count("generationConfig.maxOutputTokens") {
                    summary.maxOutputTokens = max(limit, summary.maxOutputTokens ?? 0)
                }
            case "candidatecount":
                summary.answers = max(summary.answers, try answers("generationConfig.candidateCount") ?? 1)
            default: try cursor.skipValue()
            }
        }
    }

    /// Anything but declared functions runs at the provider.
    private mutating func readGeminiTools() throws(JSONFailure) {
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
                if key.withoutUnderscores != "functiondeclarations" { summary.refersToStoredInput = true }
                try cursor.skipValue()
            }
        }
    }

    private mutating func readContents() throws {
        // One content alone may stand without its array.
        if cursor.peek() == UInt8(ascii: "{") { return try readContent() }
        guard cursor.peek() == UInt8(ascii: "[") else {
            throw AppError(.badRequest, "\"contents\" must be an array of contents with \"parts\".", field: "contents")
        }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                let field = "contents[\(summary.messageRanges.count)]"
                throw AppError(.badRequest, "\"\(field)\" must be an object with \"role\" and \"parts\".", field: field)
            }
            try readContent()
        }
    }

    private mutating func readContent() throws(JSONFailure) {
        _ = cursor.peek()
        let start = cursor.at
        summary.lastUserText = nil
        summary.toolResults = []
        var role = "user"
        var parts = GeminiParts()
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("role") {
                role = try cursor.optionalString()?.string() ?? role
            } else if key.equals("parts") {
                try parts.read(&cursor, &summary)
            } else {
                try cursor.skipValue()
            }
        }
        summary.messageRanges.append(start..<cursor.at)
        if role != "model" {
            summary.lastUserText = parts.lastText
            summary.toolResults = parts.results
        }
    }
}

/// The parts of one content.
private struct GeminiParts {
    var lastText: String?
    var results: [RequestSummary.ToolResult] = []

    mutating func read(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "[") else { return try readPart(&cursor, &summary) }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) { try readPart(&cursor, &summary) }
    }

    private mutating func readPart(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            switch key.withoutUnderscores {
            case "text": if let text = try cursor.optionalString() { lastText = text.string() }
            case "inlinedata": try readInline(&cursor, &summary)
            case "functionresponse": try readResult(&cursor)
            case "functioncall", "thought", "thoughtsignature", "executablecode", "codeexecutionresult": try cursor.skipValue()
            default:
                // A file, or a kind that is not known here.
                summary.refersToStoredInput = true
                try cursor.skipValue()
            }
        }
    }

    /// Pictures are bounded; documents, sound and film count by page or second, whatever their bytes.
    private func readInline(_ cursor: inout JSONCursor, _ summary: inout RequestSummary) throws(JSONFailure) {
        var isImage = false
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.withoutUnderscores == "mimetype", let type = try cursor.optionalString() {
                isImage = type.hasPrefix("image/")
            } else if key.withoutUnderscores != "mimetype" {
                try cursor.skipValue()
            }
        }
        if isImage { summary.images += 1 } else { summary.refersToStoredInput = true }
    }

    private mutating func readResult(_ cursor: inout JSONCursor) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var id: String?
        var name = ""
        var text = ""
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("id") {
                id = try cursor.optionalString()?.string()
            } else if key.equals("name") {
                name = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("response") {
                text = cursor.text(try cursor.range())
            } else {
                try cursor.skipValue()
            }
        }
        results.append(.init(id: id ?? name, text: text, isError: false))
    }
}

extension JSONString {
    /// `maxOutputTokens` and `max_output_tokens` as one word.
    var withoutUnderscores: String { string().lowercased().filter { $0 != "_" } }
}

extension RequestSummary {
    /// `…/models/<model>:<action>`.
    mutating func readGeminiPath(_ path: String) throws(AppError) {
        let bare = path.prefix { $0 != "?" }
        guard let name = bare.split(separator: "/").last, let colon = name.lastIndex(of: ":"), colon > name.startIndex else {
            throw AppError(
                .badRequest, "The path '\(bare.prefix(200))' names no model; expected …/models/<model>:generateContent.",
                field: "model")
        }
        model = String(name[..<colon].prefix(256))
        stream = name[colon...] == ":streamGenerateContent"
    }
}
