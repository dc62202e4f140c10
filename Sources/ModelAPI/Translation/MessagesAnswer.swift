import Core

/// An answer as an Anthropic Messages stream, or as one message.
struct MessagesAnswer: AnswerEncoder {
    let context: AnswerContext

    mutating func write(_ event: AnswerEvent, into bytes: inout [UInt8]) {
        switch event {
        case .start(let id, let model, _, let usage):
            Self.event("message_start", &bytes) {
                $0.fieldObject("message") {
                    Self.head(&$0, id ?? "msg_\(context.requestID)", model ?? context.model)
                    $0.fieldArray("content") { _ in }
                    $0.fieldNull("stop_reason")
                    $0.fieldNull("stop_sequence")
                    $0.fieldObject("usage") { $0.messagesUsage(usage ?? Usage()) }
                }
            }
        case .begin(let number, let block):
            Self.event("content_block_start", &bytes) {
                $0.field("index", number)
                $0.fieldObject("content_block") { begin(&$0, block) }
            }
        case .piece(let number, let kind, let text):
            Self.delta(number, &bytes) {
                switch kind {
                case .text:
                    $0.field("type", "text_delta")
                    $0.field("text", text)
                case .thinking:
                    $0.field("type", "thinking_delta")
                    $0.field("thinking", text)
                case .input:
                    $0.field("type", "input_json_delta")
                    $0.field("partial_json", text)
                }
            }
        case .end(let number, let block):
            if case .thinking(_, let signature?) = block {
                Self.delta(number, &bytes) {
                    $0.field("type", "signature_delta")
                    $0.field("signature", signature)
                }
            }
            Self.event("content_block_stop", &bytes) { $0.field("index", number) }
        case .stop(let reason, let sequence, let usage):
            Self.event("message_delta", &bytes) {
                $0.fieldObject("delta") { Self.stop(&$0, reason, sequence) }
                $0.fieldObject("usage") { $0.messagesUsage(usage ?? Usage()) }
            }
            Self.event("message_stop", &bytes) { _ in }
        case .failed(let error):
            let failure = Failure(error)
            let end = ErrorShape.streamError(
                .messages, type: failure.type(.messages), message: failure.message(.messages), requestID: context.requestID)
            bytes.append(contentsOf: end.readableBytesView)
        }
    }

    /// The whole message.
    func whole(_ reader: AnswerReader, _ blocks: [AnswerBlock]) -> JSONWriter {
        JSONWriter.object { json in
            Self.head(&json, reader.id ?? "msg_\(context.requestID)", reader.model ?? context.model)
            json.fieldArray("content") { array in
                for block in blocks { array.object { self.block(&$0, block) } }
            }
            Self.stop(&json, reader.stopReason ?? .endTurn, reader.stopSequence)
            json.fieldObject("usage") { $0.messagesUsage(reader.usage ?? Usage()) }
        }
    }

    private static func event(_ type: String, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        bytes.appendEvent(
            type,
            JSONWriter.object {
                $0.field("type", type)
                body(&$0)
            })
    }

    private static func delta(_ number: Int, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        event("content_block_delta", &bytes) {
            $0.field("index", number)
            $0.fieldObject("delta", body)
        }
    }

    private static func head(_ json: inout JSONWriter, _ id: String, _ model: String) {
        json.field("id", id)
        json.field("type", "message")
        json.field("role", "assistant")
        json.field("model", model)
    }

    private static func stop(_ json: inout JSONWriter, _ reason: StopReason, _ sequence: String?) {
        if case .other = reason { json.field("stop_reason", "end_turn") } else { json.field("stop_reason", reason.word) }
        if let sequence { json.field("stop_sequence", sequence) } else { json.fieldNull("stop_sequence") }
    }

    private func begin(_ json: inout JSONWriter, _ block: AnswerEvent.Block) {
        switch block {
        case .text: self.block(&json, .text(""))
        case .thinking: self.block(&json, .thinking(text: "", signature: nil))
        case .redactedThinking(let data): self.block(&json, .redactedThinking(data: data))
        case .toolUse(let id, let name):
            self.block(&json, .toolUse(id: id, name: name, inputJSON: "{}", isComplete: true))
        }
    }

    private func block(_ json: inout JSONWriter, _ block: AnswerBlock) {
        switch block {
        case .text(let text):
            json.field("type", "text")
            json.field("text", text)
        case .thinking(let text, let signature):
            json.field("type", "thinking")
            json.field("thinking", text)
            json.field("signature", signature ?? "")
        case .redactedThinking(let data):
            json.field("type", "redacted_thinking")
            json.field("data", data)
        case .toolUse(let id, let name, let input, _):
            json.field("type", "tool_use")
            json.field("id", ToolNames.fitting(id, limit: 128))
            json.field("name", context.clientName(name))
            json.field("input", raw: AnswerBlock.object(ofInput: input))
        case .other: break
        }
    }
}
