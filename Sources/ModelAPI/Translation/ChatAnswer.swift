import Core

/// An answer as a Chat Completions stream, or as one completion.
struct ChatAnswer: AnswerEncoder {
    let context: AnswerContext
    private var id = ""
    private var model = ""
    private var created = 0
    /// Numbers of blocks that are calls, in the protocol's own count.
    private var calls: [Int: Int] = [:]
    /// Calls that are told whole, at their end: their input is a text in the client's protocol.
    private var textCalls: [Int: (id: String, name: String)] = [:]
    /// Gemini's signature of the call that follows.
    private var signature: String?

    init(context: AnswerContext) { self.context = context }

    mutating func write(_ event: AnswerEvent, into bytes: inout [UInt8]) {
        switch event {
        case .start(let id, let model, let created, _):
            self.id = id ?? "chatcmpl-\(context.requestID)"
            self.model = model ?? context.model
            self.created = created ?? context.created
            delta(&bytes) {
                $0.field("role", "assistant")
                $0.field("content", "")
            }
        case .begin(let number, .toolUse(let id, let given)):
            let index = calls.count
            calls[number] = index
            let name = context.clientName(given)
            if context.textTools.contains(name) {
                textCalls[number] = (id, name)
                return
            }
            let signature = self.signature
            self.signature = nil
            call(index, &bytes) {
                $0.field("id", id)
                $0.field("type", "function")
                Self.google(&$0, signature)
                $0.fieldObject("function") {
                    $0.field("name", name)
                    $0.field("arguments", "")
                }
            }
        case .begin: break
        case .piece(let number, let kind, let text):
            switch kind {
            case .text: delta(&bytes) { $0.field("content", text) }
            case .thinking: delta(&bytes) { $0.field("reasoning_content", text) }
            case .input:
                guard let index = calls[number], textCalls[number] == nil else { return }
                call(index, &bytes) { $0.fieldObject("function") { $0.field("arguments", text) } }
            }
        case .end(let number, let block): end(number, block, &bytes)
        case .stop(let reason, _, let usage):
            chunk(&bytes) {
                $0.fieldArray("choices") {
                    $0.object {
                        $0.field("index", 0)
                        $0.fieldObject("delta") { _ in }
                        $0.field("finish_reason", Self.word(reason))
                    }
                }
            }
            if context.includeUsage {
                chunk(&bytes) {
                    $0.fieldArray("choices") { _ in }
                    $0.fieldObject("usage") { $0.chatUsage(usage ?? Usage()) }
                }
            }
            bytes.append(contentsOf: "data: [DONE]\n\n".utf8)
        case .failed(let error):
            let failure = Failure(error)
            let end = ErrorShape.streamError(
                .chatCompletions, type: failure.type(.chatCompletions), code: failure.code(.chatCompletions),
                message: failure.message(.chatCompletions), requestID: context.requestID)
            bytes.append(contentsOf: end.readableBytesView)
        }
    }

    private mutating func end(_ number: Int, _ block: AnswerBlock, _ bytes: inout [UInt8]) {
        if case .thinking(_, let proof?) = block, Signature.origin(proof) == .gemini { signature = proof }
        guard case .toolUse(_, _, let input, _) = block, let known = textCalls.removeValue(forKey: number) else { return }
        call(calls[number] ?? 0, &bytes) {
            $0.field("id", known.id)
            $0.field("type", "custom")
            $0.fieldObject("custom") {
                $0.field("name", known.name)
                $0.field("input", AnswerContext.text(ofInput: input))
            }
        }
    }

    private func delta(_ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        chunk(&bytes) {
            $0.fieldArray("choices") {
                $0.object {
                    $0.field("index", 0)
                    $0.fieldObject("delta", body)
                    $0.fieldNull("finish_reason")
                }
            }
        }
    }

    private func call(_ index: Int, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        delta(&bytes) {
            $0.fieldArray("tool_calls") {
                $0.object {
                    $0.field("index", index)
                    body(&$0)
                }
            }
        }
    }

    private func chunk(_ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        bytes.appendEvent(
            nil,
            JSONWriter.object {
                $0.field("id", id)
                $0.field("object", "chat.completion.chunk")
                $0.field("created", created)
                $0.field("model", model)
                body(&$0)
            })
    }

    private static func google(_ json: inout JSONWriter, _ signature: String?) {
        guard let signature else { return }
        json.fieldObject("extra_content") {
            $0.fieldObject("google") { $0.field("thought_signature", Signature.forGemini(signature)) }
        }
    }

    private static func word(_ reason: StopReason) -> String {
        switch reason {
        case .endTurn, .stopSequence, .pauseTurn, .other: "stop"
        case .maxTokens, .contextExceeded: "length"
        case .toolUse: "tool_calls"
        case .refusal: "content_filter"
        }
    }

    /// The whole completion.
    func whole(_ reader: AnswerReader, _ blocks: [AnswerBlock]) -> JSONWriter {
        JSONWriter.object { json in
            json.field("id", reader.id ?? "chatcmpl-\(context.requestID)")
            json.field("object", "chat.completion")
            json.field("created", reader.created ?? context.created)
            json.field("model", reader.model ?? context.model)
            json.fieldArray("choices") {
                $0.object {
                    $0.field("index", 0)
                    $0.fieldObject("message") { message(&$0, blocks) }
                    $0.fieldNull("logprobs")
                    $0.field("finish_reason", Self.word(reader.stopReason ?? .endTurn))
                }
            }
            if let usage = reader.usage { json.fieldObject("usage") { $0.chatUsage(usage) } }
        }
    }

    private func message(_ json: inout JSONWriter, _ blocks: [AnswerBlock]) {
        var text = ""
        var reasoning = ""
        for block in blocks {
            if case .text(let part) = block { text += part }
            if case .thinking(let part, _) = block { reasoning += part }
        }
        json.field("role", "assistant")
        let calls = blocks.contains { if case .toolUse = $0 { true } else { false } }
        if text.isEmpty, calls { json.fieldNull("content") } else { json.field("content", text) }
        json.fieldNull("refusal")
        if !reasoning.isEmpty { json.field("reasoning_content", reasoning) }
        if !calls { return }
        json.fieldArray("tool_calls") { array in
            var signature: String?
            for block in blocks {
                if case .thinking(_, let proof?) = block, Signature.origin(proof) == .gemini { signature = proof }
                guard case .toolUse(let id, let given, let input, _) = block else { continue }
                let name = context.clientName(given)
                array.object {
                    $0.field("id", id)
                    if context.textTools.contains(name) {
                        $0.field("type", "custom")
                        $0.fieldObject("custom") {
                            $0.field("name", name)
                            $0.field("input", AnswerContext.text(ofInput: input))
                        }
                    } else {
                        $0.field("type", "function")
                        Self.google(&$0, signature)
                        $0.fieldObject("function") {
                            $0.field("name", name)
                            $0.field("arguments", input)
                        }
                    }
                }
                signature = nil
            }
        }
    }
}
