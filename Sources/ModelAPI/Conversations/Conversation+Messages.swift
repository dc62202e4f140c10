import NIOCore

extension Conversation {
    /// Anthropic Messages.
    ///
    /// Three cache marks: behind the system prompt (which covers the tools before it), and at the end of the last two messages of
    /// the user, so that this step reads what the last one wrote and writes for the next. Marks are not part of what is cached.
    func encodeMessages(stream: Bool) -> ByteBuffer {
        let marked = Set(messages.indices.filter { messages[$0].role == .user && !messages[$0].messagesContent.isEmpty }.suffix(2))
        return JSONWriter.object { json in
            json.field("model", model)
            json.field("max_tokens", maxOutputTokens)
            if stream { json.field("stream", true) }
            if let sessionID { json.fieldObject("metadata") { $0.field("user_id", sessionID) } }
            if let thinkingBudget {
                json.fieldObject("thinking") {
                    $0.field("type", "enabled")
                    $0.field("budget_tokens", thinkingBudget)
                }
            }
            if !tools.isEmpty {
                json.fieldArray("tools") { array in
                    for tool in sortedTools {
                        array.object {
                            $0.field("name", tool.name)
                            $0.field("description", tool.description)
                            $0.field("input_schema", raw: tool.inputSchema)
                        }
                    }
                }
                if toolChoice == .none { json.fieldObject("tool_choice") { $0.field("type", "none") } }
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

extension Message {
    /// What of it can be sent: no blank text, no thinking that another protocol gave.
    fileprivate var messagesContent: [ContentBlock] {
        content.filter {
            switch $0 {
            case .text(let text), .answer(.text(let text)): !text.isBlank
            case .answer(.thinking(_, let signature)): signature.map { !$0.isReasoningItem } ?? false
            case .answer, .toolResult: true
            }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func cacheMark() { fieldObject("cache_control") { $0.field("type", "ephemeral") } }

    fileprivate mutating func messagesBlock(_ block: ContentBlock, isMarked: Bool) {
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
            case .answer(.other): break
            }
            if isMarked { json.cacheMark() }
        }
    }
}
