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
                                    if !tool.description.isEmpty { $0.field("description", tool.description) }
                                    $0.field("parametersJsonSchema", raw: tool.inputSchema)
                                }
                            }
                        }
                    }
                }
                json.geminiChoice(toolChoice)
            }
            json.fieldObject("generationConfig") {
                if let maxOutputTokens { $0.field("maxOutputTokens", maxOutputTokens) }
                $0.geminiSettings(self)
            }
            json.fieldArray("contents") { contents in
                for message in messages {
                    let parts = message.geminiParts(names)
                    if parts.isEmpty { continue }
                    contents.object {
                        $0.field("role", message.role == .assistant ? "model" : "user")
                        $0.fieldArray("parts") { array in
                            for part in parts { array.raw(part) }
                        }
                    }
                }
            }
        }.buffer
    }
}

extension JSONWriter {
    fileprivate mutating func geminiChoice(_ choice: Conversation.ToolChoice) {
        if choice == .auto { return }
        fieldObject("toolConfig") {
            $0.fieldObject("functionCallingConfig") {
                switch choice {
                case .auto: break
                case .none: $0.field("mode", "NONE")
                case .required: $0.field("mode", "ANY")
                case .tool(let name):
                    $0.field("mode", "ANY")
                    $0.fieldArray("allowedFunctionNames") { $0.string(name) }
                }
            }
        }
    }

    fileprivate mutating func geminiSettings(_ conversation: Conversation) {
        if conversation.thinkingBudget != nil || conversation.effort != nil {
            fieldObject("thinkingConfig") {
                if let budget = conversation.thinkingBudget { $0.field("thinkingBudget", budget) }
                if let effort = conversation.effort { $0.field("thinkingLevel", effort.rawValue) }
                if conversation.isTranslated { $0.field("includeThoughts", true) }
            }
        }
        field("temperature", conversation.sampling.temperature)
        field("topP", conversation.sampling.topP)
        field("topK", conversation.sampling.topK)
        field("frequencyPenalty", conversation.sampling.frequencyPenalty)
        field("presencePenalty", conversation.sampling.presencePenalty)
        field("seed", conversation.sampling.seed)
        if !conversation.stopSequences.isEmpty {
            fieldArray("stopSequences") { array in
                for text in conversation.stopSequences { array.string(text) }
            }
        }
        if let format = conversation.format {
            field("responseMimeType", "application/json")
            if case .jsonSchema(_, let schema, _) = format { field("responseJsonSchema", raw: schema) }
        }
    }

    fileprivate mutating func geminiMedia(_ media: Media) {
        switch media.source {
        case .base64(let data):
            fieldObject("inlineData") {
                $0.field("mimeType", media.type ?? media.usualType)
                $0.field("data", data)
            }
        case .url(let url):
            fieldObject("fileData") {
                if let type = media.type { $0.field("mimeType", type) }
                $0.field("fileUri", url)
            }
        case .text(let text): field("text", text)
        }
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
                case .media(let media): json.geminiMedia(media)
                case .toolOutput(let id, let output, let isError):
                    json.fieldObject("functionResponse") {
                        if !id.hasPrefix(GeminiCallID.prefix) { $0.field("id", id) }
                        $0.field("name", names[id] ?? id)
                        let texts = output.compactMap { if case .text(let text) = $0 { text } else { nil } }
                        $0.fieldObject("response") { $0.field(isError ? "error" : "output", texts.joined(separator: "\n\n")) }
                    }
                case .answer(.redactedThinking), .answer(.other): break
                }
                if let signature, !signature.isReasoningItem, !json.isEmptyObject { json.field("thoughtSignature", signature) }
            }
            signature = nil
            if part.text != "{}" { parts.append(part.text) }
            if case .toolOutput(_, let output, _) = block {
                // The pictures of a result stand beside it.
                for case .media(let media) in output { parts.append(JSONWriter.object { $0.geminiMedia(media) }.text) }
            }
        }
        return parts
    }
}

extension JSONWriter {
    /// Just behind an opening brace.
    fileprivate var isEmptyObject: Bool { bytes.last == UInt8(ascii: "{") }
}
