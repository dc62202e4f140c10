import NIOCore

extension Conversation {
    /// Gemini. The model and whether to stream are in the path, not in the body.
    func encodeGemini() -> ByteBuffer {
        // A result names the function, not only the call.
        var names: [String: String] = [:]
        for message in messages {
            for case .answer(.toolUse(let id, let name, _, _)) in message.content { names[id] = name }
        }
        return JSONWriter.object { json in
            if !system.isBlank {
                json.fieldObject("systemInstruction") {
                    $0.fieldArray("parts") { $0.object { $0.field("text", system) } }
                }
            }
            if !tools.isEmpty {
                json.fieldArray("tools") {
                    $0.object {
                        $0.fieldArray("functionDeclarations") { array in
                            for tool in sortedTools {
                                array.object {
                                    $0.field("name", tool.name)
                                    $0.field("description", tool.description)
                                    $0.field("parametersJsonSchema", raw: tool.inputSchema)
                                }
                            }
                        }
                    }
                }
                if toolChoice == .none {
                    json.fieldObject("toolConfig") { $0.fieldObject("functionCallingConfig") { $0.field("mode", "NONE") } }
                }
            }
            json.fieldObject("generationConfig") {
                $0.field("maxOutputTokens", maxOutputTokens)
                if let thinkingBudget { $0.fieldObject("thinkingConfig") { $0.field("thinkingBudget", thinkingBudget) } }
            }
            json.fieldArray("contents") { contents in
                for message in messages {
                    let parts = message.geminiParts(names)
                    if parts.isEmpty { continue }
                    contents.object {
                        $0.field("role", message.role == .user ? "user" : "model")
                        $0.fieldArray("parts") { array in
                            for part in parts { array.raw(part) }
                        }
                    }
                }
            }
        }.buffer
    }
}

extension Message {
    /// A thought without text only carries the signature of the part behind it.
    fileprivate func geminiParts(_ names: [String: String]) -> [String] {
        var parts: [String] = []
        var signature: String?
        for block in content {
            if case .answer(.other(let json)) = block {
                parts.append(json)
                continue
            }
            if case .answer(.thinking(let text, let own)) = block, text.isEmpty {
                signature = own
                continue
            }
            let part = JSONWriter.object { json in
                switch block {
                case .text(let text), .answer(.text(let text)):
                    if !text.isEmpty { json.field("text", text) }
                case .answer(.thinking(let text, let own)):
                    guard let own, !own.isReasoningItem else { return }
                    json.field("text", text)
                    json.field("thought", true)
                    json.field("thoughtSignature", own)
                case .answer(.toolUse(let id, let name, let input, _)):
                    json.fieldObject("functionCall") {
                        if !id.hasPrefix(GeminiCallID.prefix) { $0.field("id", id) }
                        $0.field("name", name)
                        $0.field("args", raw: AnswerBlock.object(ofInput: input))
                    }
                case .toolResult(let id, let text, let isError):
                    json.fieldObject("functionResponse") {
                        if !id.hasPrefix(GeminiCallID.prefix) { $0.field("id", id) }
                        $0.field("name", names[id] ?? id)
                        $0.fieldObject("response") { $0.field(isError ? "error" : "output", text) }
                    }
                case .answer(.redactedThinking), .answer(.other): break
                }
                if let signature, !signature.isReasoningItem, !json.isEmptyObject { json.field("thoughtSignature", signature) }
            }
            signature = nil
            if part.text != "{}" { parts.append(part.text) }
        }
        return parts
    }
}

extension JSONWriter {
    /// Just behind an opening brace.
    fileprivate var isEmptyObject: Bool { bytes.last == UInt8(ascii: "{") }
}
