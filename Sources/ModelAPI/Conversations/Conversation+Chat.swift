import NIOCore

extension Conversation {
    /// OpenAI Chat Completions, in the words that its imitators understand as well.
    func encodeChat(stream: Bool) -> ByteBuffer {
        JSONWriter.object { json in
            json.field("model", model)
            json.key(Self.namesCompletionTokens(model) ? "max_completion_tokens" : "max_tokens")
            json.int(maxOutputTokens)
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
                                $0.field("description", tool.description)
                                $0.field("parameters", raw: tool.inputSchema)
                            }
                        }
                    }
                }
                if toolChoice == .none { json.field("tool_choice", "none") }
            }
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
    /// A message becomes one message for each tool result, then one for the texts.
    fileprivate mutating func chatMessages(_ message: Message) {
        switch message.role {
        case .user: chatUser(message)
        case .assistant: chatAssistant(message)
        }
    }

    private mutating func chatUser(_ message: Message) {
        var texts: [String] = []
        for block in message.content {
            switch block {
            case .toolResult(let id, let text, _):
                object {
                    $0.field("role", "tool")
                    $0.field("tool_call_id", id)
                    $0.field("content", text)
                }
            case .text(let text), .answer(.text(let text)):
                if !text.isBlank { texts.append(text) }
            case .answer: break
            }
        }
        if texts.isEmpty { return }
        object {
            $0.field("role", "user")
            $0.field("content", texts.joined(separator: "\n\n"))
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
            case .answer, .toolResult: break
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
