import Core

/// An answer as an OpenAI Responses stream, or as one response. Every block is an item of its own.
struct ResponsesAnswer: AnswerEncoder {
    let context: AnswerContext
    private var sequence = 0
    private var id = ""
    private var model = ""
    private var created = 0
    private var open: [Int: Item] = [:]
    /// Items that have ended, by number: the end of the stream repeats them all.
    private var done: [(number: Int, json: String)] = []

    private struct Item: Sendable {
        var id: String
        var block: AnswerEvent.Block
        var isText = false
    }

    init(context: AnswerContext) { self.context = context }

    mutating func write(_ event: AnswerEvent, into bytes: inout [UInt8]) {
        switch event {
        case .start(let id, let model, let created, _):
            self.id = id ?? "resp_\(context.requestID)"
            self.model = model ?? context.model
            self.created = created ?? context.created
            for type in ["response.created", "response.in_progress"] {
                let response = response("in_progress", nil)
                send(type, &bytes) { $0.field("response", raw: response) }
            }
        case .begin(let number, let block): begin(number, block, &bytes)
        case .piece(let number, let kind, let text): piece(number, kind, text, &bytes)
        case .end(let number, let block): end(number, block, &bytes)
        case .stop(let reason, _, let usage): stop(reason, usage, &bytes)
        case .failed(let error): fail(Failure(error), &bytes)
        }
    }

    private mutating func begin(_ number: Int, _ block: AnswerEvent.Block, _ bytes: inout [UInt8]) {
        var item = Item(id: "\(Self.prefix(block))_\(number)_\(context.requestID)", block: block)
        let json: String
        switch block {
        case .text: json = Self.message(item.id, nil)
        case .thinking, .redactedThinking: json = Self.reasoning(item.id, nil)
        case .toolUse(let callID, let name):
            item.isText = context.textTools.contains(context.clientName(name))
            json = call(item.id, callID, name, "", "in_progress")
        }
        open[number] = item
        send("response.output_item.added", &bytes) {
            $0.field("output_index", number)
            $0.field("item", raw: json)
        }
        if block == .text {
            part("response.content_part.added", item.id, number, &bytes) { $0.field("part", raw: Self.outputText("")) }
        } else if block == .thinking {
            summary("response.reasoning_summary_part.added", item.id, number, &bytes) {
                $0.field("part", raw: Self.summaryText(""))
            }
        }
    }

    private mutating func piece(_ number: Int, _ kind: AnswerEvent.Piece, _ text: String, _ bytes: inout [UInt8]) {
        guard let item = open[number], !item.isText else { return }
        switch kind {
        case .text:
            part("response.output_text.delta", item.id, number, &bytes) {
                $0.field("delta", text)
                $0.fieldArray("logprobs") { _ in }
            }
        case .thinking: summary("response.reasoning_summary_text.delta", item.id, number, &bytes) { $0.field("delta", text) }
        case .input:
            send("response.function_call_arguments.delta", &bytes) {
                $0.field("item_id", item.id)
                $0.field("output_index", number)
                $0.field("delta", text)
            }
        }
    }

    private mutating func end(_ number: Int, _ block: AnswerBlock, _ bytes: inout [UInt8]) {
        guard let item = open.removeValue(forKey: number) else { return }
        switch block {
        case .text(let text):
            part("response.output_text.done", item.id, number, &bytes) {
                $0.field("text", text)
                $0.fieldArray("logprobs") { _ in }
            }
            part("response.content_part.done", item.id, number, &bytes) { $0.field("part", raw: Self.outputText(text)) }
        case .thinking(let text, _):
            summary("response.reasoning_summary_text.done", item.id, number, &bytes) { $0.field("text", text) }
            summary("response.reasoning_summary_part.done", item.id, number, &bytes) {
                $0.field("part", raw: Self.summaryText(text))
            }
        case .toolUse(_, _, let input, _):
            if item.isText {
                let text = AnswerContext.text(ofInput: input)
                for (type, key) in [("delta", "delta" as StaticString), ("done", "input")] {
                    send("response.custom_tool_call_input.\(type)", &bytes) {
                        $0.field("item_id", item.id)
                        $0.field("output_index", number)
                        $0.field(key, text)
                    }
                }
            } else {
                send("response.function_call_arguments.done", &bytes) {
                    $0.field("item_id", item.id)
                    $0.field("output_index", number)
                    $0.field("arguments", input)
                }
            }
        case .redactedThinking, .other: break
        }
        guard let json = self.item(item.id, block) else { return }
        done.append((number, json))
        send("response.output_item.done", &bytes) {
            $0.field("output_index", number)
            $0.field("item", raw: json)
        }
    }

    private mutating func stop(_ reason: StopReason, _ usage: Usage?, _ bytes: inout [UInt8]) {
        let incomplete = Self.incomplete(reason)
        let response = response(incomplete == nil ? "completed" : "incomplete", usage ?? Usage(), incomplete: incomplete)
        send(incomplete == nil ? "response.completed" : "response.incomplete", &bytes) { $0.field("response", raw: response) }
    }

    /// Some clients know only the event, others only the failed answer.
    private mutating func fail(_ failure: Failure, _ bytes: inout [UInt8]) {
        if id.isEmpty {
            id = "resp_\(context.requestID)"
            model = context.model
            created = context.created
        }
        let code = failure.code(.responses) ?? failure.type(.responses)
        send("error", &bytes) {
            $0.field("code", code)
            $0.field("message", failure.message(.responses))
            $0.fieldNull("param")
        }
        let response = response("failed", nil, error: (code, failure.message(.responses)))
        send("response.failed", &bytes) { $0.field("response", raw: response) }
    }

    // MARK: Events

    private mutating func send(_ type: String, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void) {
        let number = sequence
        sequence += 1
        bytes.appendEvent(
            type,
            JSONWriter.object {
                $0.field("type", type)
                $0.field("sequence_number", number)
                body(&$0)
            })
    }

    private mutating func part(
        _ type: String, _ id: String, _ number: Int, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void
    ) {
        send(type, &bytes) {
            $0.field("item_id", id)
            $0.field("output_index", number)
            $0.field("content_index", 0)
            body(&$0)
        }
    }

    private mutating func summary(
        _ type: String, _ id: String, _ number: Int, _ bytes: inout [UInt8], _ body: (inout JSONWriter) -> Void
    ) {
        send(type, &bytes) {
            $0.field("item_id", id)
            $0.field("output_index", number)
            $0.field("summary_index", 0)
            body(&$0)
        }
    }

    private func response(
        _ status: String, _ usage: Usage?, incomplete: String? = nil, error: (code: String, message: String)? = nil
    ) -> String {
        let output = done.sorted { $0.number < $1.number }.map(\.json)
        return Self.response(id, model, created, status, usage, output, incomplete, error)
    }
}
