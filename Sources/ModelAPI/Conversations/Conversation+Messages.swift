import NIOCore

extension Conversation {
    /// Anthropic Messages.
    ///
    /// Three cache marks: behind the system prompt (which covers the tools before it), and at the end of the last two messages of
    /// the user, so that this step reads what the last one wrote and writes for the next. Marks are not part of what is cached.
    /// - Parameter isBedrock: for `InvokeModel`, where model and streaming are in the path.
    func encodeMessages(stream: Bool, isBedrock: Bool = false) -> ByteBuffer {
        let marked = Set(messages.indices.filter { messages[$0].role == .user && !messages[$0].messagesContent.isEmpty }.suffix(2))
        return JSONWriter.object { json in
            if isBedrock { json.field("anthropic_version", BedrockBody.version) } else { json.field("model", model) }
            json.field("max_tokens", maxOutputTokens ?? Self.usualMaxOutputTokens)
            if stream, !isBedrock { json.field("stream", true) }
            if let id = sessionID ?? user { json.fieldObject("metadata") { $0.field("user_id", id) } }
            json.messagesSettings(self)
            if !tools.isEmpty {
                json.fieldArray("tools") { array in
                    for tool in sortedTools {
                        array.object {
                            $0.field("name", tool.name)
                            if !tool.description.isEmpty { $0.field("description", tool.description) }
                            $0.field("input_schema", raw: tool.inputSchema)
                        }
                    }
                }
                json.messagesChoice(self)
            }
            if !system.isBlank {
                json.fieldArray("system") { array in
                    array.object {
                        $0.field("type", "text")
                        $0.field("text", system)
                        $0.cacheMark()
                    }
                }
            }
            json.fieldArray("messages") { array in
                for (index, message) in messages.enumerated() {
                    let content = message.messagesContent
                    if content.isEmpty { continue }
                    array.object {
                        $0.field("role", message.role.rawValue)
                        $0.fieldArray("content") { blocks in
                            for (position, block) in content.enumerated() {
                                blocks.messagesBlock(block, isMarked: marked.contains(index) && position == content.count - 1)
                            }
                        }
                    }
                }
            }
        }.buffer
    }
}

extension JSONWriter {
    fileprivate mutating func messagesSettings(_ conversation: Conversation) {
        if let budget = conversation.thinkingBudget {
            fieldObject("thinking") {
                $0.field("type", "enabled")
                $0.field("budget_tokens", budget)
            }
        } else if conversation.effort != nil {
            fieldObject("thinking") {
                $0.field("type", "adaptive")
                $0.field("display", "summarized")
            }
        }
        if conversation.effort != nil || conversation.format != nil {
            fieldObject("output_config") { config in
                if let effort = conversation.effort { config.field("effort", effort.rawValue) }
                if case .jsonSchema(_, let schema, _)? = conversation.format {
                    config.fieldObject("format") {
                        $0.field("type", "json_schema")
                        $0.field("schema", raw: schema)
                    }
                }
            }
        }
        field("temperature", conversation.sampling.temperature)
        field("top_p", conversation.sampling.topP)
        field("top_k", conversation.sampling.topK)
        if !conversation.stopSequences.isEmpty {
            fieldArray("stop_sequences") { array in
                for text in conversation.stopSequences { array.string(text) }
            }
        }
    }

    fileprivate mutating func messagesChoice(_ conversation: Conversation) {
        if conversation.toolChoice == .auto, conversation.parallelToolCalls != false { return }
        fieldObject("tool_choice") {
            switch conversation.toolChoice {
            case .auto: $0.field("type", "auto")
            case .none: return $0.field("type", "none")
            case .required: $0.field("type", "any")
            case .tool(let name):
                $0.field("type", "tool")
                $0.field("name", name)
            }
            if conversation.parallelToolCalls == false { $0.field("disable_parallel_tool_use", true) }
        }
    }
}

extension Message {
    /// What of it can be sent: no blank text, no thinking that another protocol gave.
    var messagesContent: [ContentBlock] {
        content.filter {
            switch $0 {
            case .text(let text), .answer(.text(let text)): !text.isBlank
            case .answer(.thinking(_, let signature)): signature.map { !$0.isReasoningItem } ?? false
            case .answer, .toolResult, .media, .toolOutput: true
            }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func cacheMark() { fieldObject("cache_control") { $0.field("type", "ephemeral") } }

    mutating func messagesBlock(_ block: ContentBlock, isMarked: Bool) {
        if case .answer(.other(let json)) = block { return raw(json) }
        object { json in
            switch block {
            case .text(let text), .answer(.text(let text)):
                json.field("type", "text")
                json.field("text", text)
            case .answer(.thinking(let text, let signature)):
                json.field("type", "thinking")
                json.field("thinking", text)
                json.field("signature", signature ?? "")
            case .answer(.redactedThinking(let data)):
                json.field("type", "redacted_thinking")
                json.field("data", data)
            case .answer(.toolUse(let id, let name, let input, _)):
                json.field("type", "tool_use")
                json.field("id", id)
                json.field("name", name)
                json.field("input", raw: AnswerBlock.object(ofInput: input))
            case .toolResult(let id, let text, let isError):
                json.field("type", "tool_result")
                json.field("tool_use_id", id)
                if !text.isEmpty { json.field("content", text) }
                if isError { json.field("is_error", true) }
            case .media(let media): json.messagesMedia(media)
            case .toolOutput(let id, let parts, let isError):
                json.field("type", "tool_result")
                json.field("tool_use_id", id)
                json.fieldArray("content") { array in
                    for part in parts {
                        array.object {
                            switch part {
                            case .text(let text):
                                $0.field("type", "text")
                                $0.field("text", text)
                            case .media(let media): $0.messagesMedia(media)
                            }
                        }
                    }
                }
                if isError { json.field("is_error", true) }
            case .answer(.other): break
            }
            if isMarked { json.cacheMark() }
        }
    }

    private mutating func messagesMedia(_ media: Media) {
        field("type", media.kind == .image ? "image" : "document")
        fieldObject("source") {
            switch media.source {
            case .base64(let data):
                $0.field("type", "base64")
                $0.field("media_type", media.type ?? media.usualType)
                $0.field("data", data)
            case .url(let url):
                $0.field("type", "url")
                $0.field("url", url)
            case .text(let text):
                $0.field("type", "text")
                $0.field("media_type", "text/plain")
                $0.field("data", text)
            }
        }
        if media.kind == .document, let name = media.name { field("title", name) }
    }
}
