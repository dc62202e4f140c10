import Core

extension ResponsesAnswer {
    /// The whole response.
    func whole(_ reader: AnswerReader, _ blocks: [AnswerBlock]) -> JSONWriter {
        let items = blocks.enumerated().compactMap { item("\(Self.prefix($1))_\($0)_\(context.requestID)", $1) }
        let incomplete = Self.incomplete(reader.stopReason ?? .endTurn)
        var json = JSONWriter()
        json.raw(
            Self.response(
                reader.id ?? "resp_\(context.requestID)", reader.model ?? context.model, reader.created ?? context.created,
                incomplete == nil ? "completed" : "incomplete", reader.usage ?? Usage(), items, incomplete, nil))
        return json
    }

    /// Nil for an answer that came to its own end.
    static func incomplete(_ reason: StopReason) -> String? {
        switch reason {
        case .endTurn, .stopSequence, .toolUse, .pauseTurn, .other: nil
        case .maxTokens, .contextExceeded: "max_output_tokens"
        case .refusal: "content_filter"
        }
    }

    static func response(
        _ id: String, _ model: String, _ created: Int, _ status: String, _ usage: Usage?, _ output: [String], _ incomplete: String?,
        _ error: (code: String, message: String)?
    ) -> String {
        JSONWriter.object {
            $0.field("id", id)
            $0.field("object", "response")
            $0.field("created_at", created)
            $0.field("status", status)
            if let error {
                $0.fieldObject("error") {
                    $0.field("code", error.code)
                    $0.field("message", error.message)
                }
            } else {
                $0.fieldNull("error")
            }
            if let incomplete {
                $0.fieldObject("incomplete_details") { $0.field("reason", incomplete) }
            } else {
                $0.fieldNull("incomplete_details")
            }
            $0.fieldNull("instructions")
            $0.field("model", model)
            $0.fieldArray("output") { array in
                for item in output { array.raw(item) }
            }
            $0.field("parallel_tool_calls", true)
            $0.field("store", false)
            $0.field("tool_choice", "auto")
            $0.fieldArray("tools") { _ in }
            $0.fieldObject("metadata") { _ in }
            if let usage { $0.fieldObject("usage") { $0.responsesUsage(usage) } } else { $0.fieldNull("usage") }
        }.text
    }

    // MARK: Items

    static func prefix(_ block: AnswerEvent.Block) -> String {
        switch block {
        case .text: "msg"
        case .thinking, .redactedThinking: "rs"
        case .toolUse: "fc"
        }
    }

    static func prefix(_ block: AnswerBlock) -> String {
        switch block {
        case .text, .other: "msg"
        case .thinking, .redactedThinking: "rs"
        case .toolUse: "fc"
        }
    }

    func item(_ id: String, _ block: AnswerBlock) -> String? {
        switch block {
        case .text(let text): Self.message(id, text)
        case .thinking, .redactedThinking: Self.reasoning(id, block)
        case .toolUse(let callID, let name, let input, let isComplete):
            call(id, callID, name, input, isComplete ? "completed" : "incomplete")
        case .other: nil
        }
    }

    /// - Parameter text: nil while it is still to come.
    static func message(_ id: String, _ text: String?) -> String {
        JSONWriter.object {
            $0.field("id", id)
            $0.field("type", "message")
            $0.field("status", text == nil ? "in_progress" : "completed")
            $0.field("role", "assistant")
            $0.fieldArray("content") { if let text { $0.raw(outputText(text)) } }
        }.text
    }

    /// Thoughts come back sealed, whichever provider they are of.
    static func reasoning(_ id: String, _ block: AnswerBlock?) -> String {
        JSONWriter.object {
            $0.field("id", id)
            $0.field("type", "reasoning")
            $0.fieldArray("summary") {
                if case .thinking(let text, _)? = block, !text.isEmpty { $0.raw(summaryText(text)) }
            }
            if let block { $0.field("encrypted_content", ReasoningEnvelope.seal(block)) }
        }.text
    }

    func call(_ id: String, _ callID: String, _ name: String, _ input: String, _ status: String) -> String {
        let name = context.clientName(name)
        let isText = context.textTools.contains(name)
        return JSONWriter.object {
            $0.field("id", id)
            $0.field("type", isText ? "custom_tool_call" : "function_call")
            $0.field("status", status)
            $0.field("call_id", callID)
            $0.field("name", name)
            if isText {
                $0.field("input", input.isEmpty ? "" : AnswerContext.text(ofInput: input))
            } else {
                $0.field("arguments", input)
            }
        }.text
    }

    static func outputText(_ text: String) -> String {
        JSONWriter.object {
            $0.field("type", "output_text")
            $0.field("text", text)
            $0.fieldArray("annotations") { _ in }
            $0.fieldArray("logprobs") { _ in }
        }.text
    }

    static func summaryText(_ text: String) -> String {
        JSONWriter.object {
            $0.field("type", "summary_text")
            $0.field("text", text)
        }.text
    }
}
