import Core

/// OpenAI Chat Completions.
extension ClientRequestReader {
    mutating func readChat(_ root: inout JSONFields) throws(AppError) {
        let limit = try root.count("max_tokens")
        conversation.maxOutputTokens = try root.count("max_completion_tokens") ?? limit
        try readSampling(&root)
        if let options = root.take("stream_options") {
            var fields = try options.fields()
            includeUsage = try fields.bool("include_usage") ?? false
            // Padding against eavesdroppers: there is none to switch off.
            fields.ignore("include_obfuscation")
            losses.note(fields.remainder)
        }
        if let stop = root.take("stop") {
            if stop.isString {
                conversation.stopSequences = [try stop.string()]
            } else {
                for node in try stop.elements() { conversation.stopSequences.append(try node.string()) }
            }
        }
        if let answers = try root.count("n"), answers > 1 { losses.note("n") }
        conversation.effort = try effort(root.take("reasoning_effort"))
        if var format = try root.fields("response_format") {
            switch try format.string("type") {
            case "json_object": conversation.format = .jsonObject
            case "json_schema":
                var schema = try format.require("json_schema", "name and schema").fields()
                schema.ignore("description")
                conversation.format = try jsonSchema(&schema)
            case "text": break
            default: losses.note("response_format")
            }
        }
        for node in try root.elements("tools") { try readFunction(node, isNested: true) }
        if let choice = root.take("tool_choice") { try readChoice(choice, isNested: true) }
        for node in try root.require("messages", "an array of messages").elements() { try readChatMessage(node) }
    }

    /// What both of OpenAI's protocols have.
    mutating func readSampling(_ root: inout JSONFields) throws(AppError) {
        conversation.sampling.temperature = try root.number("temperature")
        conversation.sampling.topP = try root.number("top_p")
        conversation.sampling.topK = try root.number("top_k")
        conversation.sampling.frequencyPenalty = try root.number("frequency_penalty")
        conversation.sampling.presencePenalty = try root.number("presence_penalty")
        conversation.sampling.seed = try root.number("seed")
        conversation.parallelToolCalls = try root.bool("parallel_tool_calls")
        conversation.sessionID = try root.string("prompt_cache_key")
        let user = try root.string("user")
        conversation.user = try root.string("safety_identifier") ?? user
    }

    /// - Parameter isNested: Chat Completions puts a function into a field of its own, Responses beside its type.
    mutating func readFunction(_ node: JSONNode, isNested: Bool) throws(AppError) {
        var fields = try node.fields()
        let type = try fields.string("type") ?? "function"
        guard type == "function" || type == "custom" else { return losses.note("tools.\(type)") }
        var inner = isNested ? try fields.require(type, "the tool").fields() : fields
        let name = try inner.require("name", "the tool's name").string()
        var description = try inner.string("description") ?? ""
        if type == "function" {
            conversation.tools.append(
                ToolSchema(
                    name: name, description: description,
                    checked: try inner.take("parameters")?.object() ?? #"{"type":"object","properties":{}}"#,
                    strict: try inner.bool("strict")))
        } else {
            // The grammar of the text is told to the model; it is not enforced.
            if var format = try inner.fields("format"), try format.string("type") == "grammar" {
                var grammar = format.take("grammar").flatMap { try? $0.fields() } ?? format
                let definition = try grammar.string("definition") ?? ""
                let syntax = try grammar.string("syntax") ?? ""
                description += "\n\nThe input must follow this grammar (\(syntax)):\n\(definition)"
                losses.note("tools.format.grammar")
            }
            conversation.tools.append(
                ToolSchema(name: name, description: description, checked: ToolSchema.textSchema, takesText: true))
        }
        losses.note(inner.remainder)
    }

    mutating func readChoice(_ node: JSONNode, isNested: Bool) throws(AppError) {
        if node.isString {
            switch try node.string() {
            case "auto": conversation.toolChoice = .auto
            case "none": conversation.toolChoice = .none
            case "required": conversation.toolChoice = .required
            default: throw node.refused("auto, none, required or an object")
            }
            return
        }
        var fields = try node.fields()
        let type = try fields.string("type") ?? ""
        guard type == "function" || type == "custom" else { return losses.note("tool_choice.\(type)") }
        var inner = isNested ? try fields.require(type, "the tool").fields() : fields
        conversation.toolChoice = .tool(try inner.require("name", "a tool's name").string())
    }

    private mutating func readChatMessage(_ node: JSONNode) throws(AppError) {
        var fields = try node.fields()
        let role = try fields.require("role", "system, user, assistant or tool")
        switch try role.string() {
        case "system", "developer":
            for case .text(let text) in try chatParts(fields.require("content", "a text")) { addSystem(text) }
        case "user": add(try chatParts(fields.require("content", "a text or an array of parts")), .user, joins: joinsResults)
        case "assistant": try readChatAnswer(&fields)
        case "tool":
            let id = try fields.require("tool_call_id", "the call's id").string()
            var parts: [ResultPart] = []
            for block in try chatParts(fields.require("content", "a text")) {
                if case .text(let text) = block { parts.append(.text(text)) }
                if case .media(let media) = block { parts.append(.media(media)) }
            }
            add([Self.result(id, parts)], .user, joins: joinsResults)
        default: throw role.refused("system, developer, user, assistant or tool")
        }
        losses.note(fields.remainder)
    }

    /// Whether the last message brings results: whatever the user says next belongs to the same turn.
    var joinsResults: Bool {
        conversation.messages.last?.content.contains {
            switch $0 {
            case .toolResult, .toolOutput: true
            case .text, .answer, .media: false
            }
        } ?? false
    }

    private mutating func readChatAnswer(_ fields: inout JSONFields) throws(AppError) {
        var blocks: [ContentBlock] = []
        let reasoning = try fields.string("reasoning")
        if let text = try fields.string("reasoning_content") ?? reasoning, !text.isEmpty {
            blocks.append(.answer(.thinking(text: text, signature: nil)))
        }
        var texts: [String] = []
        if let content = fields.take("content") {
            for case .text(let text) in try chatParts(content) { texts.append(text) }
        }
        if let refusal = try fields.string("refusal") { texts.append(refusal) }
        let text = texts.joined()
        if !text.isEmpty { blocks.append(.answer(.text(text))) }
        for node in try fields.elements("tool_calls") {
            var call = try node.fields()
            call.ignore("index")
            let id = try call.require("id", "the call's id").string()
            let type = try call.string("type") ?? "function"
            guard type == "function" || type == "custom" else { throw node.refused("a call of type function or custom") }
            var inner = try call.require(type, "what is called").fields()
            let name = try inner.require("name", "a tool's name").string()
            if let signature = try googleSignature(&call) { blocks.append(.answer(.thinking(text: "", signature: signature))) }
            let input =
                type == "function"
                ? try inner.string("arguments") ?? "{}" : Self.textInput(try inner.string("input") ?? "")
            blocks.append(.answer(Self.call(id, name, input)))
            losses.note(inner.remainder)
            losses.note(call.remainder)
        }
        fields.ignore("annotations", "audio")
        add(blocks, .assistant, joins: false)
    }

    /// Google's place for what Gemini wants back with a call.
    private func googleSignature(_ call: inout JSONFields) throws(AppError) -> String? {
        guard var extra = try call.fields("extra_content"), var google = try extra.fields("google"),
            let signature = try google.string("thought_signature")
        else { return nil }
        return signature.hasPrefix(Signature.gemini) ? signature : Signature.gemini + signature
    }

    static func call(_ id: String, _ name: String, _ input: String) -> AnswerBlock {
        let input = input.isBlank ? "{}" : input
        return .toolUse(id: id, name: name, inputJSON: input, isComplete: JSONCursor.isObject(input))
    }

    static func textInput(_ text: String) -> String { JSONWriter.object { $0.field("input", text) }.text }

    /// Parts of a message, in the words of either of OpenAI's protocols.
    mutating func chatParts(_ content: JSONNode) throws(AppError) -> [ContentBlock] {
        if content.isString { return [.text(try content.string())] }
        var blocks: [ContentBlock] = []
        for node in try content.elements() {
            var fields = try node.fields()
            let type = try fields.require("type", "the kind of part").string()
            switch type {
            case "text", "input_text", "output_text": blocks.append(.text(try fields.require("text", "a text").string()))
            case "refusal": blocks.append(.text(try fields.require("refusal", "a text").string()))
            case "image_url":
                var image = try fields.require("image_url", "an object with url").fields()
                let url = try image.require("url", "a URL").string()
                blocks.append(.media(Media(kind: .image, url: url, detail: try image.string("detail"))))
            case "input_image":
                guard let url = try fields.string("image_url") else { throw Self.storedElsewhere(node.path + ".file_id") }
                blocks.append(.media(Media(kind: .image, url: url, detail: try fields.string("detail"))))
            case "file", "input_file":
                var file = type == "file" ? try fields.require("file", "an object with file_data").fields() : fields
                let name = try file.string("filename")
                let link = try file.string("file_url")
                guard let url = try file.string("file_data") ?? link else {
                    throw Self.storedElsewhere(node.path + ".file_id")
                }
                blocks.append(.media(Media(kind: .document, url: url, name: name)))
                if type == "input_file" { fields = file }
            case "input_audio":
                var audio = try fields.require("input_audio", "an object with data and format").fields()
                let data = try audio.require("data", "the sound in base64").string()
                let form = try audio.string("format") ?? "wav"
                blocks.append(.media(Media(kind: .audio, type: "audio/\(form)", source: .base64(data))))
            default:
                losses.note(node.path + ".\(type)")
                continue
            }
            fields.ignore("annotations", "logprobs")
            if fields.take("cache_control") != nil { losses.note("cache_control") }
            losses.note(fields.remainder)
        }
        return blocks
    }
}
