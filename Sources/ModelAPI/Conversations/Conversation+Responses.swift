import NIOCore

extension Conversation {
    /// OpenAI Responses, without anything stored at the provider: reasoning goes back encrypted, as it came.
    /// - Parameter isCount: for `input_tokens`, which knows only what is counted.
    func encodeResponses(stream: Bool, isCount: Bool = false) -> ByteBuffer {
        JSONWriter.object { json in
            json.field("model", model)
            if let maxOutputTokens { json.field("max_output_tokens", maxOutputTokens) }
            if stream { json.field("stream", true) }
            if !isCount { json.field("store", false) }
            if !isCount, Self.namesCompletionTokens(model) {
                json.fieldArray("include") { $0.string("reasoning.encrypted_content") }
            }
            if let sessionID { json.field("prompt_cache_key", sessionID) }
            if !tools.isEmpty {
                json.fieldArray("tools") { array in
                    for tool in sortedTools {
                        array.object {
                            $0.field("type", "function")
                            $0.field("name", tool.name)
                            if !tool.description.isEmpty { $0.field("description", tool.description) }
                            $0.field("parameters", raw: tool.inputSchema)
                            $0.field("strict", tool.strict ?? false)
                        }
                    }
                }
                json.openAIChoice(self, isNested: false)
            }
            json.responsesSettings(self)
            if !system.isBlank { json.field("instructions", system) }
            json.fieldArray("input") { items in
                for message in messages {
                    if message.content.contains(where: { if case .media = $0 { true } else { false } }) {
                        items.responsesMessage(message)
                    } else {
                        for block in message.content { items.responsesItem(block, message.role) }
                    }
                }
            }
        }.buffer
    }
}

extension JSONWriter {
    fileprivate mutating func responsesSettings(_ conversation: Conversation) {
        if let effort = conversation.effort {
            fieldObject("reasoning") {
                $0.field("effort", effort.rawValue)
                $0.field("summary", "auto")
            }
        }
        openAISampling(conversation.sampling)
        if let user = conversation.user { field("safety_identifier", user) }
        switch conversation.format {
        case .jsonObject?: fieldObject("text") { $0.fieldObject("format") { $0.field("type", "json_object") } }
        case .jsonSchema(let name, let schema, let strict)?:
            fieldObject("text") {
                $0.fieldObject("format") {
                    $0.field("type", "json_schema")
                    $0.field("name", name)
                    $0.field("schema", raw: schema)
                    if let strict { $0.field("strict", strict) }
                }
            }
        case nil: break
        }
    }

    fileprivate mutating func responsesItem(_ block: ContentBlock, _ role: Message.Role) {
        switch block {
        case .text(let text), .answer(.text(let text)):
            if !text.isBlank { responsesText(text, role) }
        case .answer(.thinking(_, let signature)):
            // The reasoning item itself; thoughts of another protocol stay at home.
            if let signature, signature.isReasoningItem { raw(signature) }
        case .answer(.other(let json)): raw(json)
        case .answer(.redactedThinking): break
        case .answer(.toolUse(let id, let name, let input, _)):
            object {
                $0.field("type", "function_call")
                $0.field("call_id", id)
                $0.field("name", name)
                $0.field("arguments", AnswerBlock.object(ofInput: input))
            }
        case .toolResult(let id, let text, _):
            object {
                $0.field("type", "function_call_output")
                $0.field("call_id", id)
                $0.field("output", text)
            }
        case .toolOutput(let id, let parts, _):
            object {
                $0.field("type", "function_call_output")
                $0.field("call_id", id)
                $0.fieldArray("output") { array in
                    for part in parts { array.object { $0.responsesPart(part) } }
                }
            }
        case .media: break
        }
    }

    /// Words and pictures of one message stay together.
    fileprivate mutating func responsesMessage(_ message: Message) {
        var parts: [ResultPart] = []
        for block in message.content {
            switch block {
            case .text(let text): if !text.isBlank { parts.append(.text(text)) }
            case .media(let media): parts.append(.media(media))
            case .answer, .toolResult, .toolOutput: responsesItem(block, message.role)
            }
        }
        object {
            $0.field("type", "message")
            $0.field("role", message.role.rawValue)
            $0.fieldArray("content") { array in
                for part in parts { array.object { $0.responsesPart(part) } }
            }
        }
    }

    private mutating func responsesPart(_ part: ResultPart) {
        switch part {
        case .text(let text):
            field("type", "input_text")
            field("text", text)
        case .media(let media) where media.kind == .image:
            field("type", "input_image")
            field("image_url", media.url ?? "")
            field("detail", media.detail ?? "auto")
        case .media(let media):
            field("type", "input_file")
            if case .url(let url) = media.source { return field("file_url", url) }
            field("filename", media.name ?? "document.pdf")
            field("file_data", media.url ?? "")
        }
    }

    private mutating func responsesText(_ text: String, _ role: Message.Role) {
        object {
            $0.field("type", "message")
            $0.field("role", role.rawValue)
            $0.fieldArray("content") {
                $0.object {
                    $0.field("type", role == .assistant ? "output_text" : "input_text")
                    $0.field("text", text)
                    if role == .assistant { $0.fieldArray("annotations") { _ in } }
                }
            }
        }
    }
}

extension String {
    /// Whether a signature is a Responses reasoning item: no other protocol's signature is JSON.
    var isReasoningItem: Bool { utf8.first == UInt8(ascii: "{") && JSONCursor.isObject(self) }
}
