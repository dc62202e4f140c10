import NIOCore

extension Conversation {
    /// OpenAI Responses, without anything stored at the provider: reasoning goes back encrypted, as it came.
    func encodeResponses(stream: Bool) -> ByteBuffer {
        JSONWriter.object { json in
            json.field("model", model)
            json.field("max_output_tokens", maxOutputTokens)
            if stream { json.field("stream", true) }
            json.field("store", false)
            if Self.namesCompletionTokens(model) {
                json.fieldArray("include") { $0.string("reasoning.encrypted_content") }
            }
            if let sessionID { json.field("prompt_cache_key", sessionID) }
            if !tools.isEmpty {
                json.fieldArray("tools") { array in
                    for tool in sortedTools {
                        array.object {
                            $0.field("type", "function")
                            $0.field("name", tool.name)
                            $0.field("description", tool.description)
                            $0.field("parameters", raw: tool.inputSchema)
                            $0.field("strict", false)
                        }
                    }
                }
                if toolChoice == .none { json.field("tool_choice", "none") }
            }
            if !system.isBlank { json.field("instructions", system) }
            json.fieldArray("input") { items in
                for message in messages {
                    for block in message.content { items.responsesItem(block, message.role) }
                }
            }
        }.buffer
    }
}

extension JSONWriter {
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
        }
    }

    private mutating func responsesText(_ text: String, _ role: Message.Role) {
        object {
            $0.field("type", "message")
            $0.field("role", role.rawValue)
            $0.fieldArray("content") {
                $0.object {
                    $0.field("type", role == .user ? "input_text" : "output_text")
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
