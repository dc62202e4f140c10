import Foundation

/// Writes answers as Anthropic's Messages.
enum MessagesAnswer {
    static func whole(_ answer: DemoAnswer) -> String {
        var content: [JSON] = []
        if !answer.thinking.isEmpty {
            content.append([
                "type": "thinking", "thinking": .string(answer.thinking),
                "signature": .string(MessagesRequest.signature(of: answer.thinking)),
            ])
        }
        if !answer.text.isEmpty { content.append(["type": "text", "text": .string(answer.text)]) }
        for call in answer.calls {
            // An object even where the streamed form is cut: that is what the protocol says.
            let input = (try? JSONDecoder().decode(JSON.self, from: Data(call.arguments.utf8))) ?? [:]
            content.append(["type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": input])
        }
        return message(answer, content: content, stop: .string(answer.stop), usage: usage(answer)).text
    }

    static func frames(_ answer: DemoAnswer) -> [StreamFrame] {
        var frames = [
            event("message_start", ["message": message(answer, content: [], stop: nil, usage: startUsage(answer))]),
            event("ping", [:]),
        ]
        if answer.unknownParts { frames.append(event("slipway_unknown", ["anything": ["nested": [1, 2, nil]]])) }
        var index = 0
        func block(_ start: JSON, _ deltas: [JSON]) {
            frames.append(event("content_block_start", ["index": .int(index), "content_block": start]))
            for delta in deltas {
                frames.append(event("content_block_delta", ["index": .int(index), "delta": delta], isPaced: true))
            }
            frames.append(event("content_block_stop", ["index": .int(index)]))
            index += 1
        }
        if !answer.thinking.isEmpty {
            let deltas = answer.pieces(answer.thinking).map { ["type": "thinking_delta", "thinking": .string($0)] as JSON }
            block(
                ["type": "thinking", "thinking": "", "signature": ""],
                deltas + [["type": "signature_delta", "signature": .string(MessagesRequest.signature(of: answer.thinking))]])
        }
        if !answer.text.isEmpty {
            block(["type": "text", "text": ""], answer.pieces(answer.text).map { ["type": "text_delta", "text": .string($0)] })
        }
        for call in answer.calls {
            block(
                ["type": "tool_use", "id": .string(call.id), "name": .string(call.name), "input": [:]],
                ([""] + answer.pieces(call.arguments)).map { ["type": "input_json_delta", "partial_json": .string($0)] })
        }
        frames.append(
            event("message_delta", ["delta": ["stop_reason": .string(answer.stop), "stop_sequence": nil], "usage": usage(answer)]))
        frames.append(event("message_stop", [:]))
        return frames
    }

    static func error(_ error: RequestError) -> JSON {
        ["type": "error", "error": ["type": .string(error.type), "message": .string(error.message)]]
    }

    static func errorFrame(_ error: RequestError) -> StreamFrame {
        StreamFrame(text: "event: error\ndata: \(self.error(error).text)\n\n")
    }

    private static func event(_ type: String, _ fields: JSON, isPaced: Bool = false) -> StreamFrame {
        guard case .object(let fields) = fields else { preconditionFailure("an event is an object") }
        let data = JSON.object([("type", .string(type))] + fields)
        return StreamFrame(text: "event: \(type)\ndata: \(data.text)\n\n", isPaced: isPaced)
    }

    private static func message(_ answer: DemoAnswer, content: [JSON], stop: JSON, usage: JSON) -> JSON {
        var fields: [(key: String, value: JSON)] = [
            ("id", "msg_demo_\(answer.id)"), ("type", "message"), ("role", "assistant"), ("model", .string(answer.model)),
            ("content", .array(content)), ("stop_reason", stop), ("stop_sequence", nil), ("usage", usage),
        ]
        if answer.unknownParts { fields.append(("slipway_unknown", ["nested": true])) }
        return .object(fields)
    }

    private static func inputUsage(_ usage: DemoUsage) -> [(key: String, value: JSON)] {
        [
            ("input_tokens", .int(usage.input)), ("cache_creation_input_tokens", .int(usage.cacheWrite)),
            ("cache_read_input_tokens", .int(usage.cacheRead)),
            ("cache_creation", ["ephemeral_5m_input_tokens": .int(usage.cacheWrite), "ephemeral_1h_input_tokens": 0]),
        ]
    }

    private static func startUsage(_ answer: DemoAnswer) -> JSON {
        .object(inputUsage(answer.usage) + [("output_tokens", 1), ("service_tier", "standard")])
    }

    private static func usage(_ answer: DemoAnswer) -> JSON {
        .object(inputUsage(answer.usage) + [("output_tokens", .int(answer.usage.output)), ("service_tier", "standard")])
    }
}
