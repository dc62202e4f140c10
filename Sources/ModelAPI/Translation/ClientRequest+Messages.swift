import Core

/// Anthropic Messages.
extension ClientRequestReader {
    mutating func readMessages(_ root: inout JSONFields) throws(AppError) {
        conversation.maxOutputTokens = try root.count("max_tokens")
        conversation.sampling.temperature = try root.number("temperature")
        conversation.sampling.topP = try root.number("top_p")
        conversation.sampling.topK = try root.number("top_k")
        for node in try root.elements("stop_sequences") { conversation.stopSequences.append(try node.string()) }
        if var metadata = try root.fields("metadata") {
            conversation.sessionID = try metadata.string("user_id")
            losses.note(metadata.remainder)
        }
        try readThinking(&root)
        if let system = root.take("system") { try readMessagesSystem(system) }
        for node in try root.elements("tools") { try readMessagesTool(node) }
        if var choice = try root.fields("tool_choice") { try readMessagesChoice(&choice) }
        for node in try root.require("messages", "an array of messages").elements() { try readMessage(node) }
    }

    private mutating func readThinking(_ root: inout JSONFields) throws(AppError) {
        var effort: Effort?
        if var config = try root.fields("output_config") {
            effort = try self.effort(config.take("effort"))
            if var format = try config.fields("format") { try readMessagesFormat(&format) }
            losses.note(config.remainder)
        }
        if var format = try root.fields("output_format") { try readMessagesFormat(&format) }
        guard var thinking = try root.fields("thinking") else {
            if effort != nil { losses.note("output_config.effort") }
            return
        }
        switch try thinking.string("type") {
        case "enabled": conversation.thinkingBudget = try thinking.count("budget_tokens") ?? 1024
        case "adaptive": conversation.effort = effort ?? .high
        case "disabled": conversation.effort = Effort.none
        default: losses.note("thinking.type")
        }
        thinking.ignore("display")
        losses.note(thinking.remainder)
    }

    private mutating func readMessagesFormat(_ format: inout JSONFields) throws(AppError) {
        guard try format.string("type") == "json_schema" else { return losses.note(format.path) }
        conversation.format = try jsonSchema(&format)
    }

    private mutating func readMessagesSystem(_ node: JSONNode) throws(AppError) {
        if node.isString { return addSystem(try node.string()) }
        for block in try node.elements() {
            var fields = try block.fields()
            guard try fields.string("type") == "text" else { throw block.refused("a text block") }
            addSystem(try fields.require("text", "a text").string())
            noteRest(&fields)
        }
    }

    /// What is left of a block: cache marks under one short name, wherever they stand.
    private mutating func noteRest(_ fields: inout JSONFields) {
        if fields.take("cache_control") != nil { losses.note("cache_control") }
        losses.note(fields.remainder)
    }

    private mutating func readMessagesTool(_ node: JSONNode) throws(AppError) {
        var fields = try node.fields()
        let type = try fields.string("type") ?? "custom"
        guard type == "custom" else { return losses.note("tools.\(type)") }
        let name = try fields.require("name", "the tool's name").string()
        conversation.tools.append(
            ToolSchema(
                name: name, description: try fields.string("description") ?? "",
                checked: try fields.take("input_schema")?.object() ?? #"{"type":"object"}"#, strict: try fields.bool("strict")))
        noteRest(&fields)
    }

    private mutating func readMessagesChoice(_ choice: inout JSONFields) throws(AppError) {
        switch try choice.string("type") {
        case "auto": conversation.toolChoice = .auto
        case "any": conversation.toolChoice = .required
        case "none": conversation.toolChoice = .none
        case "tool": conversation.toolChoice = .tool(try choice.require("name", "a tool's name").string())
        default:
            throw AppError(.badRequest, "\"tool_choice.type\" must be auto, any, tool or none.", field: "tool_choice.type")
        }
        if let isDisabled = try choice.bool("disable_parallel_tool_use") { conversation.parallelToolCalls = !isDisabled }
        losses.note(choice.remainder)
    }

    private mutating func readMessage(_ node: JSONNode) throws(AppError) {
        var fields = try node.fields()
        let role = try fields.require("role", "user or assistant")
        let content = try fields.require("content", "a text or an array of blocks")
        switch try role.string() {
        case "user": add(try messagesBlocks(content, isAnswer: false), .user, joins: false)
        case "assistant": add(try messagesBlocks(content, isAnswer: true), .assistant, joins: false)
        case "system":
            let blocks = try messagesBlocks(content, isAnswer: false)
            for case .text(let text) in blocks { addSystem(text) }
        default: throw role.refused("user or assistant")
        }
        losses.note(fields.remainder)
    }

    private mutating func messagesBlocks(_ content: JSONNode, isAnswer: Bool) throws(AppError) -> [ContentBlock] {
        if content.isString {
            let text = try content.string()
            return [isAnswer ? .answer(.text(text)) : .text(text)]
        }
        var blocks: [ContentBlock] = []
        for node in try content.elements() {
            if let block = try messagesBlock(node, isAnswer: isAnswer) { blocks.append(block) }
        }
        return blocks
    }

    private mutating func messagesBlock(_ node: JSONNode, isAnswer: Bool) throws(AppError) -> ContentBlock? {
        var fields = try node.fields()
        let type = try fields.require("type", "the kind of block").string()
        let block: ContentBlock
        switch type {
        case "text":
            let text = try fields.require("text", "a text").string()
            block = isAnswer ? .answer(.text(text)) : .text(text)
        case "image", "document": block = .media(try messagesMedia(&fields, type == "image" ? .image : .document))
        case "thinking":
            let signature = try fields.string("signature") ?? ""
            block = .answer(
                .thinking(text: try fields.string("thinking") ?? "", signature: signature.isEmpty ? nil : signature))
        case "redacted_thinking":
            let data = try fields.require("data", "the data").string()
            block = .answer(ReasoningEnvelope.open(data) ?? .redactedThinking(data: data))
        case "tool_use":
            fields.ignore("caller")
            let input = try fields.take("input")?.object() ?? "{}"
            block = .answer(
                .toolUse(
                    id: try fields.require("id", "the call's id").string(),
                    name: try fields.require("name", "a tool's name").string(),
                    inputJSON: input, isComplete: true))
        case "tool_result":
            let id = try fields.require("tool_use_id", "the call's id").string()
            let parts = try messagesResult(fields.take("content"))
            block = Self.result(id, parts, isError: try fields.bool("is_error") ?? false)
        default:
            // Tools that run at Anthropic, search results, files: nobody else knows them.
            losses.note("messages.content.\(type)")
            return nil
        }
        noteRest(&fields)
        return block
    }

    private mutating func messagesResult(_ content: JSONNode?) throws(AppError) -> [ResultPart] {
        guard let content else { return [] }
        if content.isString { return [.text(try content.string())] }
        var parts: [ResultPart] = []
        for node in try content.elements() {
            var fields = try node.fields()
            switch try fields.require("type", "the kind of block").string() {
            case "text": parts.append(.text(try fields.require("text", "a text").string()))
            case "image": parts.append(.media(try messagesMedia(&fields, .image)))
            case "document": parts.append(.media(try messagesMedia(&fields, .document)))
            case let other:
                losses.note("messages.content.tool_result.\(other)")
                continue
            }
            noteRest(&fields)
        }
        return parts
    }

    private mutating func messagesMedia(_ fields: inout JSONFields, _ kind: Media.Kind) throws(AppError) -> Media {
        let node = try fields.require("source", "where the content is")
        var source = try node.fields()
        let name = try fields.string("title")
        let type = try source.string("media_type")
        switch try source.string("type") {
        case "base64":
            let data = try source.require("data", "the content in base64").string()
            return Media(kind: kind, type: type, source: .base64(data), name: name)
        case "url": return Media(kind: kind, url: try source.require("url", "a URL").string(), name: name)
        case "text":
            let text = try source.require("data", "a text").string()
            return Media(kind: kind, type: "text/plain", source: .text(text), name: name)
        case "content":
            var texts: [String] = []
            for case .text(let text) in try messagesResult(source.take("content")) { texts.append(text) }
            return Media(kind: kind, type: "text/plain", source: .text(texts.joined(separator: "\n\n")), name: name)
        case "file": throw Self.storedElsewhere(node.path + ".file_id")
        default: throw node.refused("a source of type base64, url, text or content")
        }
    }
}
