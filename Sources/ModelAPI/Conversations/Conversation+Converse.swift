import NIOCore

extension Conversation {
    /// Bedrock's `Converse` and `ConverseStream`. The model and whether to stream are in the path, not in the body.
    ///
    /// - Parameter isCount: for `CountTokens`, which takes nothing that says how to answer.
    func encodeConverse(isCount: Bool = false) -> ByteBuffer {
        JSONWriter.object { json in
            if !system.isBlank { json.fieldArray("system") { $0.object { $0.field("text", system) } } }
            json.fieldArray("messages") { array in
                for turn in alternating {
                    array.object {
                        $0.field("role", turn.role.rawValue)
                        $0.fieldArray("content") { blocks in
                            for block in turn.content { blocks.converseBlock(block) }
                        }
                    }
                }
            }
            if !isCount {
                json.fieldObject("inferenceConfig") {
                    if let maxOutputTokens { $0.field("maxTokens", maxOutputTokens) }
                    $0.field("temperature", sampling.temperature)
                    $0.field("topP", sampling.topP)
                    if !stopSequences.isEmpty {
                        $0.fieldArray("stopSequences") { array in
                            for text in stopSequences { array.string(text) }
                        }
                    }
                }
            }
            if tools.isEmpty { return }
            json.fieldObject("toolConfig") { config in
                config.fieldArray("tools") { array in
                    for tool in sortedTools { array.object { $0.fieldObject("toolSpec") { $0.converseTool(tool) } } }
                }
                switch toolChoice {
                case .auto, .none: break
                case .required: config.fieldObject("toolChoice") { $0.fieldObject("any") { _ in } }
                case .tool(let name): config.fieldObject("toolChoice") { $0.fieldObject("tool") { $0.field("name", name) } }
                }
            }
        }.buffer
    }

    /// Turns take turns here: what one side said in several messages is one.
    private var alternating: [Message] {
        var turns: [Message] = []
        for message in messages {
            let content = message.content.filter(\.isSaid)
            if content.isEmpty { continue }
            if let last = turns.indices.last, turns[last].role == message.role {
                turns[last].content += content
            } else {
                turns.append(Message(role: message.role, content: content))
            }
        }
        return turns
    }
}

extension ContentBlock {
    fileprivate var isSaid: Bool {
        switch self {
        case .text(let text), .answer(.text(let text)): !text.isBlank
        case .answer(.other): false
        case .answer, .toolResult, .toolOutput, .media: true
        }
    }
}

extension JSONWriter {
    fileprivate mutating func converseTool(_ tool: ToolSchema) {
        field("name", tool.name)
        if !tool.description.isEmpty { field("description", tool.description) }
        fieldObject("inputSchema") { $0.field("json", raw: tool.inputSchema) }
    }

    fileprivate mutating func converseBlock(_ block: ContentBlock) {
        object { json in
            switch block {
            case .text(let text), .answer(.text(let text)): json.field("text", text)
            case .media(let media): json.converseMedia(media)
            case .toolResult(let id, let text, let isError): json.converseResult(id, [.text(text)], isError)
            case .toolOutput(let id, let parts, let isError): json.converseResult(id, parts, isError)
            case .answer(.toolUse(let id, let name, let input, _)):
                json.fieldObject("toolUse") {
                    $0.field("toolUseId", id)
                    $0.field("name", name)
                    $0.field("input", raw: AnswerBlock.object(ofInput: input))
                }
            case .answer(.thinking(let text, let signature)):
                json.fieldObject("reasoningContent") {
                    $0.fieldObject("reasoningText") {
                        $0.field("text", text)
                        if let signature { $0.field("signature", signature) }
                    }
                }
            case .answer(.redactedThinking(let data)):
                json.fieldObject("reasoningContent") { $0.field("redactedContent", data) }
            case .answer(.other): break
            }
        }
    }

    private mutating func converseResult(_ id: String, _ parts: [ResultPart], _ isError: Bool) {
        fieldObject("toolResult") {
            $0.field("toolUseId", id)
            $0.fieldArray("content") { array in
                for part in parts {
                    array.object {
                        switch part {
                        case .text(let text): $0.field("text", text)
                        case .media(let media): $0.converseMedia(media)
                        }
                    }
                }
            }
            if isError { $0.field("status", "error") }
        }
    }

    private mutating func converseMedia(_ media: Media) {
        let type = media.type ?? media.usualType
        let form = Self.converseFormat(type)
        if media.kind == .image {
            fieldObject("image") {
                $0.field("format", form)
                $0.converseSource(media)
            }
        } else {
            fieldObject("document") {
                $0.field("format", form)
                // Names must differ, and hold little else than letters.
                let content = if case .text(let text) = media.source { text } else { media.url ?? "" }
                $0.field("name", "document-\(ToolNames.hash((media.name ?? "") + content))")
                $0.converseSource(media)
            }
        }
    }

    /// Bedrock's word for a media type.
    private static func converseFormat(_ type: String) -> String {
        let form = String(type.drop { $0 != "/" }.dropFirst().prefix { $0 != ";" })
        return switch form {
        case "plain": "txt"
        case "markdown", "x-markdown": "md"
        case "msword": "doc"
        case "vnd.openxmlformats-officedocument.wordprocessingml.document": "docx"
        case "vnd.ms-excel": "xls"
        case "vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx"
        case "jpg": "jpeg"
        default: form
        }
    }

    private mutating func converseSource(_ media: Media) {
        fieldObject("source") {
            switch media.source {
            case .base64(let data): $0.field("bytes", data)
            case .text(let text): $0.field("bytes", Base64.encode(Array(text.utf8)))
            case .url: break
            }
        }
    }
}
