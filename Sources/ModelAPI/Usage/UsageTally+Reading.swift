import Core

extension UsageTally {
    /// Reads a `usage` object of the tally's protocol; `null` and other kinds are skipped.
    mutating func read(_ cursor: inout JSONCursor) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        switch convention {
        case .messages: try readMessages(&cursor)
        case .chatCompletions: try readChat(&cursor)
        case .responses: try readResponses(&cursor)
        case .gemini: try readGemini(&cursor)
        }
    }

    private mutating func readMessages(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("input_tokens") {
                try Self.replace(&input, &cursor)
            } else if key.equals("output_tokens") {
                try Self.replace(&output, &cursor)
            } else if key.equals("cache_read_input_tokens") {
                try Self.replace(&cacheRead, &cursor)
            } else if key.equals("cache_creation_input_tokens") {
                try Self.replace(&cacheWrite, &cursor)
            } else if key.equals("cache_creation") {
                try readFields(&cursor) { tally, key, cursor throws(JSONFailure) in
                    if key.equals("ephemeral_5m_input_tokens") {
                        try Self.replace(&tally.cacheWrite5m, &cursor)
                    } else if key.equals("ephemeral_1h_input_tokens") {
                        try Self.replace(&tally.cacheWrite1h, &cursor)
                    } else {
                        try cursor.skipValue()
                    }
                }
            } else if key.equals("server_tool_use") {
                try readFields(&cursor) { tally, key, cursor throws(JSONFailure) in
                    if key.equals("web_search_requests") {
                        try Self.replace(&tally.webSearches, &cursor, most: 1_000_000)
                    } else {
                        try cursor.skipValue()
                    }
                }
            } else if key.equals("service_tier") {
                try readServiceTier(&cursor)
            } else if key.equals("output_tokens_details") {
                try readFields(&cursor) { tally, key, cursor throws(JSONFailure) in
                    if key.equals("thinking_tokens") || key.equals("reasoning_tokens") {
                        try Self.replace(&tally.reasoning, &cursor)
                    } else {
                        try cursor.skipValue()
                    }
                }
            } else {
                try cursor.skipValue()
            }
        }
    }

    /// Messages has it in the usage, OpenAI beside it. A word that is not known here changes nothing.
    mutating func readServiceTier(_ cursor: inout JSONCursor) throws(JSONFailure) {
        guard let word = try cursor.optionalString(), let tier = ServiceTier(word: word.string()) else { return }
        serviceTier = tier
    }

    /// OpenAI, and where the imitators differ: DeepSeek's `prompt_cache_hit_tokens`, Moonshot's `cached_tokens`.
    private mutating func readChat(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("prompt_tokens") {
                try Self.replace(&input, &cursor)
            } else if key.equals("completion_tokens") {
                try Self.replace(&output, &cursor)
            } else if key.equals("prompt_cache_hit_tokens") || key.equals("cached_tokens") {
                try Self.replace(&cacheRead, &cursor)
            } else if key.equals("prompt_tokens_details") {
                try readInputDetails(&cursor)
            } else if key.equals("completion_tokens_details") {
                try readOutputDetails(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readResponses(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("input_tokens") {
                try Self.replace(&input, &cursor)
            } else if key.equals("output_tokens") {
                try Self.replace(&output, &cursor)
            } else if key.equals("input_tokens_details") {
                try readInputDetails(&cursor)
            } else if key.equals("output_tokens_details") {
                try readOutputDetails(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readInputDetails(_ cursor: inout JSONCursor) throws(JSONFailure) {
        try readFields(&cursor) { tally, key, cursor throws(JSONFailure) in
            if key.equals("cached_tokens") {
                try Self.replace(&tally.cacheRead, &cursor)
            } else if key.equals("cache_write_tokens") {
                try Self.replace(&tally.cacheWrite, &cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readOutputDetails(_ cursor: inout JSONCursor) throws(JSONFailure) {
        try readFields(&cursor) { tally, key, cursor throws(JSONFailure) in
            if key.equals("reasoning_tokens") {
                try Self.replace(&tally.reasoning, &cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    private mutating func readGemini(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("promptTokenCount") {
                try Self.replace(&input, &cursor)
            } else if key.equals("cachedContentTokenCount") {
                try Self.replace(&cacheRead, &cursor)
            } else if key.equals("toolUsePromptTokenCount") {
                try Self.replace(&toolInput, &cursor)
            } else if key.equals("candidatesTokenCount") {
                try Self.replace(&output, &cursor)
            } else if key.equals("thoughtsTokenCount") {
                try Self.replace(&reasoning, &cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    @inline(__always)
    private mutating func readFields(
        _ cursor: inout JSONCursor,
        _ field: (inout UsageTally, JSONString, inout JSONCursor) throws(JSONFailure) -> Void
    ) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) { try field(&self, key, &cursor) }
    }

    private static func replace(_ field: inout TokenCount?, _ cursor: inout JSONCursor, most: Int = most) throws(JSONFailure) {
        guard let value = try cursor.optionalInt() else { return }
        field = min(max(value, 0), most)
    }
}
