import Core

/// OpenAI Responses. Whatever is stored at OpenAI cannot be reached from elsewhere and is refused.
extension ClientRequestReader {
    mutating func readResponses(_ root: inout JSONFields) throws(AppError) {
        for field in ["previous_response_id", "conversation", "prompt"] where root.take(field) != nil {
            throw Self.storedElsewhere(field)
        }
        if try root.bool("background") == true {
            throw AppError(
                .badRequest, "\"background\" is not possible with this model; send the request without it and wait for the answer.",
                field: "background")
        }
        conversation.maxOutputTokens = try root.count("max_output_tokens")
        try readSampling(&root)
        if var reasoning = try root.fields("reasoning") {
            conversation.effort = try effort(reasoning.take("effort"))
            // Thoughts are given as far as the model gives them.
            reasoning.ignore("summary", "generate_summary")
            losses.note(reasoning.remainder)
        }
        if var text = try root.fields("text") {
            if var format = try text.fields("format") {
                switch try format.string("type") {
                case "json_object": conversation.format = .jsonObject
                case "json_schema":
                    format.ignore("description")
                    conversation.format = try jsonSchema(&format)
                case "text": break
                default: losses.note("text.format")
                }
            }
            losses.note(text.remainder)
        }
        for node in try root.elements("include") {
            let name = try node.string()
            // Reasoning always comes sealed.
            if name != "reasoning.encrypted_content" { losses.note("include.\(name)") }
        }
        if try root.string("truncation") == "auto" { losses.note("truncation") }
        root.ignore("stream_options")
        for node in try root.elements("tools") { try readFunction(node, isNested: false) }
        if let choice = root.take("tool_choice") { try readChoice(choice, isNested: false) }
        if let instructions = try root.string("instructions") { addSystem(instructions) }
        let input = try root.require("input", "a text or an array of items")
        if input.isString { return add([.text(try input.string())], .user, joins: false) }
        for node in try input.elements() { try readItem(node) }
    }

    private mutating func readItem(_ node: JSONNode) throws(AppError) {
        var fields = try node.fields()
        let type = try fields.string("type") ?? "message"
        fields.ignore("id", "status")
        switch type {
        case "message": try readItemMessage(&fields)
        case "function_call", "custom_tool_call":
            let id = try fields.require("call_id", "the call's id").string()
            let name = try fields.require("name", "a tool's name").string()
            let input =
                type == "function_call"
                ? try fields.string("arguments") ?? "{}" : Self.textInput(try fields.string("input") ?? "")
            add([.answer(Self.call(id, name, input))], .assistant, joins: true)
        case "function_call_output", "custom_tool_call_output":
            let id = try fields.require("call_id", "the call's id").string()
            var parts: [ResultPart] = []
            for block in try chatParts(fields.require("output", "the result")) {
                if case .text(let text) = block { parts.append(.text(text)) }
                if case .media(let media) = block { parts.append(.media(media)) }
            }
            add([Self.result(id, parts)], .user, joins: true)
        case "reasoning":
            if let block = try reasoning(node, &fields) { add([.answer(block)], .assistant, joins: true) }
        case "item_reference": throw Self.storedElsewhere(node.path)
        default:
            losses.note("input.\(type)")
            return
        }
        losses.note(fields.remainder)
    }

    private mutating func readItemMessage(_ fields: inout JSONFields) throws(AppError) {
        let role = try fields.require("role", "user, assistant, system or developer")
        let blocks = try chatParts(fields.require("content", "a text or an array of parts"))
        fields.ignore("phase")
        switch try role.string() {
        case "user": add(blocks, .user, joins: joinsResults)
        case "assistant":
            for case .text(let text) in blocks { add([.answer(.text(text))], .assistant, joins: true) }
        case "system", "developer":
            for case .text(let text) in blocks { addSystem(text) }
        default: throw role.refused("user, assistant, system or developer")
        }
    }

    /// What Slipway sealed is opened; what OpenAI sealed is kept as the item that it is.
    private mutating func reasoning(_ node: JSONNode, _ fields: inout JSONFields) throws(AppError) -> AnswerBlock? {
        var texts: [String] = []
        for part in try fields.elements("summary") {
            var inner = try part.fields()
            if let text = try inner.string("text") { texts.append(text) }
        }
        fields.ignore("content")
        guard let sealed = try fields.string("encrypted_content") else { return nil }
        return ReasoningEnvelope.open(sealed)
            ?? .thinking(text: texts.joined(separator: "\n\n"), signature: try node.object())
    }
}
