import NIOCore

extension Conversation {
    /// OpenAI Chat Completions, in the words that its imitators understand as well.
    func encodeChat(stream: Bool) -> ByteBuffer {
        JSONWriter.object { json in
            json.field("model", model)
            if let maxOutputTokens {
                json.key(Self.namesCompletionTokens(model) ? "max_completion_tokens" : "max_tokens")
                json.int(maxOutputTokens)
            }
            if stream {
                json.field("stream", true)
                json.fieldObject("stream_options") { $0.field("include_usage", true) }
            }
            if !tools.isEmpty {
                json.fieldArray("tools") { array in
                    for tool in sortedTools {
                        array.object {
                            $0.field("type", "function")
                            $0.fieldObject("function") {
                                $0.field("name", tool.name)
                                if !tool.description.isEmpty { $0.field("description", tool.description) }
                                $0.field("parameters", raw: tool.inputSchema)
                                if let strict = tool.strict { $0.field("strict", strict) }
                            }
                        }
                    }
                }
                json.openAIChoice(self, isNested: true)
            }
            json.chatSettings(self)
            json.fieldArray("messages") { array in
                if !system.isBlank {
                    array.object {
                        $0.field("role", "system")
                        $0.field("content", system)
                    }
                }
                for message in messages { array.chatMessages(message) }
            }
        }.buffer
    }

    /// OpenAI's reasoning models refuse `max_tokens`; most imitators know nothing else.
    static func namesCompletionTokens(_ model: String) -> Bool {
        let name = model.split(separator: "/").last ?? ""
        return ["o1", "o3", "o4", "gpt-5", "gpt-6", "chatgpt-"].contains { name.hasPrefix($0) }
    }
}

extension JSONWriter {
    fileprivate mutating func chatSettings(_ conversation: Conversation) {
        if let effort = conversation.effort { field("reasoning_effort", effort.rawValue) }
        openAISampling(conversation.sampling)
        field("frequency_penalty", conversation.sampling.frequencyPenalty)
        field("presence_penalty", conversation.sampling.presencePenalty)
        field("seed", conversation.sampling.seed)
        if !conversation.stopSequences.isEmpty {
            fieldArray("stop") { array in
                for text in conversation.stopSequences { array.string(text) }
            }
        }
        if conversation.isTranslated {
            if let key = conversation.sessionID { field("prompt_cache_key", key) }
            if let user = conversation.user { field("user", user) }
        }
        switch conversation.format {
        case .jsonObject?: fieldObject("response_format") { $0.field("type", "json_object") }
        case .jsonSchema(let name, let schema, let strict)?:
            fieldObject("response_format") {
                $0.field("type", "json_schema")
                $0.fieldObject("json_schema") {
                    $0.field("name", name)
                    $0.field("schema", raw: schema)
                    if let strict { $0.field("strict", strict) }
                }
            }
        case nil: break
        }
    }

    /// What both of OpenAI's protocols have.
    mutating func openAISampling(_ sampling: Sampling) {
        field("temperature", sampling.temperature)
        field("top_p", sampling.topP)
    }

    mutating func openAIChoice(_ conversation: Conversation, isNested: Bool) {
        switch conversation.toolChoice {
        case .auto: break
        case .none: field("tool_choice", "none")
        case .required: field("tool_choice", "required")
        case .tool(let name):
            fieldObject("tool_choice") {
                $0.field("type", "function")
                if isNested { $0.fieldObject("function") { $0.field("name", name) } } else { $0.field("name", name) }
            }
        }
        if let parallel = conversation.parallelToolCalls { field("parallel_tool_calls", parallel) }
    }

    /// A message becomes one message for each tool result, then one for the texts.
    mutating func chatMessages(_ message: Message) {
        switch message.role {
        case .user: chatUser(message)
        case .assistant: chatAssistant(message)
        case .system:
            for case .text(let text) in message.content {
                object {
                    $0.field("role", "system")
                    $0.field("content", text)
                }
            }
        }
    }

    /// Results of tools are texts here: their pictures follow in a message of the user's.
    private mutating func chatUser(_ message: Message) {
        var parts: [ResultPart] = []
        for block in message.content {
            switch block {
            case .toolResult(let id, let text, _): chatResult(id, text)
            case .toolOutput(let id, let output, _):
                var texts: [String] = []
                for part in output {
                    if case .text(let text) = part { texts.append(text) } else { parts.append(part) }
                }
                chatResult(id, texts.isEmpty ? "The result is in the next message." : texts.joined(separator: "\n\n"))
            case .text(let text), .answer(.text(let text)):
                if !text.isBlank { parts.append(.text(text)) }
            case .media(let media): parts.append(.media(media))
            case .answer: break
            }
        }
        if parts.isEmpty { return }
        object { json in
            json.field("role", "user")
            let texts = parts.compactMap { if case .text(let text) = $0 { text } else { nil } }
            if texts.count == parts.count { return json.field("content", texts.joined(separator: "\n\n")) }
            json.fieldArray("content") { array in
                for part in parts { array.object { $0.chatPart(part) } }
            }
        }
    }

    private mutating func chatResult(_ id: String, _ text: String) {
        object {
            $0.field("role", "tool")
            $0.field("tool_call_id", id)
            $0.field("content", text)
        }
    }

    private mutating func chatPart(_ part: ResultPart) {
        switch part {
        case .text(let text):
            field("type", "text")
            field("text", text)
        case .media(let media):
            switch media.kind {
            case .image:
                field("type", "image_url")
                fieldObject("image_url") {
                    $0.field("url", media.url ?? "")
                    if let detail = media.detail { $0.field("detail", detail) }
                }
            case .document:
                field("type", "file")
                fieldObject("file") {
                    $0.field("filename", media.name ?? "document.pdf")
                    $0.field("file_data", media.url ?? "")
                }
            case .audio:
                field("type", "input_audio")
                fieldObject("input_audio") {
                    if case .base64(let data) = media.source { $0.field("data", data) }
                    $0.field("format", media.type.map { String($0.drop { $0 != "/" }.dropFirst()) } ?? "wav")
                }
            }
        }
    }

    private mutating func chatAssistant(_ message: Message) {
        var text = ""
        var reasoning = ""
        var calls: [(id: String, name: String, input: String)] = []
        for block in message.content {
            switch block {
            case .text(let part), .answer(.text(let part)): text += part
            case .answer(.thinking(let part, signature: nil)): reasoning += part
            case .answer(.toolUse(let id, let name, let input, _)): calls.append((id, name, AnswerBlock.object(ofInput: input)))
            case .answer, .toolResult, .media, .toolOutput: break
            }
        }
        if text.isBlank, calls.isEmpty { return }
        object { json in
            json.field("role", "assistant")
            if text.isBlank {
                json.key("content")
                json.null()
            } else {
                json.field("content", text)
            }
            if calls.isEmpty { return }
            // Servers that give their reasoning in the clear want it back beside the calls it led to.
            if !reasoning.isEmpty { json.field("reasoning_content", reasoning) }
            json.fieldArray("tool_calls") { array in
                for call in calls {
                    array.object {
                        $0.field("id", call.id)
                        $0.field("type", "function")
                        $0.fieldObject("function") {
                            $0.field("name", call.name)
                            $0.field("arguments", call.input)
                        }
                    }
                }
            }
        }
    }
}
