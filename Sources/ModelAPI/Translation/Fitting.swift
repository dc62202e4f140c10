import Core

/// Turns a client's conversation into one that an upstream's protocol can say in full, and names what had to go.
///
/// The rules of what each protocol and model takes are here and nowhere else: the encoders write all that is left.
struct Fitting {
    var conversation: Conversation
    var losses: Losses
    var toolNames: [String: String] = [:]
    let client: ModelProtocol
    let format: UpstreamFormat
    let defaultMaxOutputTokens: TokenCount

    init(_ request: ClientRequest, _ format: UpstreamFormat, _ model: String, _ defaultMaxOutputTokens: TokenCount) {
        conversation = request.conversation
        conversation.model = model
        losses = request.losses
        client = request.api
        self.format = format
        self.defaultMaxOutputTokens = defaultMaxOutputTokens
    }

    mutating func fit() throws(AppError) {
        fitTools()
        switch format {
        case .messages, .bedrockMessages: fitForMessages()
        case .bedrockConverse: fitForConverse()
        case .chatCompletions: fitForChat()
        case .responses: fitForResponses()
        case .gemini: fitForGemini()
        }
        for index in conversation.messages.indices { try fitMessage(index) }
        if format.api == .messages { resultsFirst() }
        if format == .gemini { signCalls() }
    }

    /// A loss under the name that the client knows the field by.
    mutating func note(messages: String, chat: String, responses: String? = nil) {
        switch client {
        case .messages, .gemini: losses.note(messages)
        case .chatCompletions: losses.note(chat)
        case .responses: losses.note(responses ?? chat)
        }
    }

    // MARK: Tools

    private mutating func fitTools() {
        let limit = nameLimit
        var renamed: [String: String] = [:]
        for index in conversation.tools.indices {
            let tool = conversation.tools[index]
            let name = ToolNames.fitting(tool.name, limit: limit)
            if name != tool.name {
                renamed[tool.name] = name
                toolNames[name] = tool.name
                conversation.tools[index] = tool.renamed(name)
            }
            // Each vendor's "strict" refuses schemas that the others take.
            if tool.strict == true, !(format.isOpenAI && client != .messages) {
                losses.note("tools.strict")
                conversation.tools[index].strict = nil
            } else if !format.isOpenAI {
                conversation.tools[index].strict = nil
            }
        }
        if case .tool(let name) = conversation.toolChoice {
            if conversation.tools.contains(where: { $0.name == renamed[name] ?? name }) {
                conversation.toolChoice = .tool(renamed[name] ?? name)
            } else {
                losses.note("tool_choice")
                conversation.toolChoice = .auto
            }
        }
        if conversation.tools.isEmpty, conversation.toolChoice == .required { conversation.toolChoice = .auto }
    }

    private var nameLimit: Int { format == .messages || format == .bedrockMessages ? 128 : 64 }

    func fittingID(_ id: String) -> String {
        switch format {
        case .messages, .bedrockMessages: ToolNames.fitting(id, limit: 128)
        case .bedrockConverse: ToolNames.fitting(id, limit: 64)
        case .chatCompletions: id.utf8.count <= 40 ? id : "call_" + ToolNames.hash(id)
        case .responses: id.utf8.count <= 64 ? id : "call_" + ToolNames.hash(id)
        case .gemini: id
        }
    }

    // MARK: Messages

    private mutating func fitMessage(_ index: Int) throws(AppError) {
        if conversation.messages[index].role == .system, !format.isOpenAI {
            // Said by the user at the same place: it must not move to the front of what is cached.
            note(messages: "messages.role.system", chat: "messages.role.system", responses: "input.role.system")
            conversation.messages[index].role = .user
        }
        var content: [ContentBlock] = []
        for block in conversation.messages[index].content {
            if let block = try fitted(block) { content.append(block) }
        }
        conversation.messages[index].content = content
    }

    private mutating func fitted(_ block: ContentBlock) throws(AppError) -> ContentBlock? {
        switch block {
        case .text: return block
        case .media(let media):
            switch try fitted(media) {
            case .text(let text): return .text(text)
            case .media(let media): return .media(media)
            }
        case .toolResult(let id, let text, let isError):
            noteError(isError)
            return .toolResult(id: fittingID(id), text: text, isError: isError)
        case .toolOutput(let id, let parts, let isError):
            noteError(isError)
            var fittedParts: [ResultPart] = []
            for part in parts {
                if case .media(let media) = part { fittedParts.append(try fitted(media)) } else { fittedParts.append(part) }
            }
            return .toolOutput(id: fittingID(id), parts: fittedParts, isError: isError)
        case .answer(.text): return block
        case .answer(.toolUse(let id, let name, let input, let isComplete)):
            return .answer(
                .toolUse(
                    id: fittingID(id), name: ToolNames.fitting(name, limit: nameLimit), inputJSON: input, isComplete: isComplete))
        case .answer(.thinking(let text, let signature)): return fittedThinking(text, signature)
        case .answer(.redactedThinking):
            if format.api == .messages { return block }
            noteThinking()
            return nil
        case .answer(.other):
            losses.note("messages.content")
            return nil
        }
    }

    /// OpenAI's protocols have no place for it; the text of the result stays.
    private mutating func noteError(_ isError: Bool) {
        if isError, format.isOpenAI { losses.note("messages.content.tool_result.is_error") }
    }

    /// Thinking goes back to where it came from, and to nobody else.
    private mutating func fittedThinking(_ text: String, _ signature: String?) -> ContentBlock? {
        let origin = signature.map(Signature.origin)
        switch format {
        case .messages, .bedrockMessages, .bedrockConverse:
            if origin == .messages { return .answer(.thinking(text: text, signature: signature)) }
        case .responses:
            if origin == .responses { return .answer(.thinking(text: text, signature: signature)) }
        case .gemini:
            if origin == .gemini, let signature {
                return .answer(.thinking(text: text, signature: Signature.forGemini(signature)))
            }
        case .chatCompletions:
            if signature == nil, !Conversation.namesCompletionTokens(conversation.model) {
                return .answer(.thinking(text: text, signature: nil))
            }
        }
        noteThinking()
        return nil
    }

    mutating func noteThinking() {
        note(messages: "messages.content.thinking", chat: "messages.reasoning_content", responses: "input.reasoning")
    }

    private func fitted(_ media: Media) throws(AppError) -> ResultPart {
        var media = media
        if case .base64(let data) = media.source, media.type?.hasPrefix("text/") == true, let bytes = Base64.decode(data.utf8) {
            media.source = .text(String(decoding: bytes, as: UTF8.self))
            media.type = "text/plain"
        }
        if case .text(let text) = media.source {
            if format.api == .messages { return .media(media) }
            return .text(media.name.map { "\($0)\n\n\(text)" } ?? text)
        }
        let isURL = if case .url = media.source { true } else { false }
        switch (media.kind, format) {
        case (.audio, .messages), (.audio, .bedrockMessages), (.audio, .bedrockConverse), (.audio, .responses):
            throw Self.refused("Sound", format)
        case (.audio, .chatCompletions) where isURL, (.document, .chatCompletions) where isURL:
            throw Self.refused("A document by URL", format)
        case (_, .bedrockMessages) where isURL, (_, .bedrockConverse) where isURL:
            throw Self.refused("A picture or document by URL", format)
        default: return .media(media)
        }
    }

    private static func refused(_ what: String, _ format: UpstreamFormat) -> AppError {
        AppError(
            .badRequest,
            "\(what) cannot be sent to this model (its provider speaks \(format.rawValue)); send the content itself, as text, PDF or picture in base64.",
            field: "messages")
    }

    /// Anthropic refuses a text before the results that it belongs behind.
    private mutating func resultsFirst() {
        for index in conversation.messages.indices where conversation.messages[index].role == .user {
            let content = conversation.messages[index].content
            let results = content.filter(Self.isResult)
            if results.isEmpty || results.count == content.count { continue }
            conversation.messages[index].content = results + content.filter { !Self.isResult($0) }
        }
    }

    private static func isResult(_ block: ContentBlock) -> Bool {
        switch block {
        case .toolResult, .toolOutput: true
        case .text, .answer, .media: false
        }
    }

    /// Gemini 3 refuses a step whose first call has no signature, unless it says that there is none (Google's documented word for
    /// calls that another model made).
    private mutating func signCalls() {
        guard conversation.model.contains("gemini-3") else { return }
        for index in conversation.messages.indices where conversation.messages[index].role == .assistant {
            let content = conversation.messages[index].content
            guard let first = content.firstIndex(where: { if case .answer(.toolUse) = $0 { true } else { false } }) else {
                continue
            }
            if first > 0, case .answer(.thinking(text: "", signature: .some)) = content[first - 1] { continue }
            let mark = AnswerBlock.thinking(text: "", signature: "skip_thought_signature_validator")
            conversation.messages[index].content.insert(.answer(mark), at: first)
        }
    }
}
