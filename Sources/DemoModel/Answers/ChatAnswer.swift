/// Writes answers as OpenAI's Chat Completions. Thinking is not shown there, only counted.
enum ChatAnswer {
    /// The answer depends on the request alone, so its time is always the same.
    private static let created = 1_735_689_600

    static func whole(_ answer: DemoAnswer) -> String {
        var message: [(key: String, value: JSON)] = [
            ("role", "assistant"), ("content", answer.text.isEmpty && !answer.calls.isEmpty ? nil : .string(answer.text)),
            ("refusal", nil),
        ]
        if !answer.calls.isEmpty {
            message.append(("tool_calls", .array(answer.calls.map { call($0, arguments: $0.arguments) })))
        }
        let choice: JSON = [
            "index": 0, "message": .object(message), "logprobs": nil, "finish_reason": .string(finishReason(answer)),
        ]
        return envelope(answer, object: "chat.completion", choices: [choice], usage: usage(answer.usage)).text
    }

    static func frames(_ answer: DemoAnswer) -> [StreamFrame] {
        let noUsage: JSON? = answer.includesUsage ? .null : nil
        func chunk(_ delta: JSON, finish: JSON = nil, isPaced: Bool = false) -> StreamFrame {
            let choice: JSON = ["index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish]
            return data(envelope(answer, object: "chat.completion.chunk", choices: [choice], usage: noUsage), isPaced: isPaced)
        }
        var frames = [chunk(["role": "assistant", "content": "", "refusal": nil])]
        frames += answer.pieces(answer.text).map { chunk(["content": .string($0)], isPaced: true) }
        for (index, call) in answer.calls.enumerated() {
            frames.append(chunk(["tool_calls": [self.call(call, arguments: "", index: index)]], isPaced: true))
            frames += answer.pieces(call.arguments).map {
                chunk(["tool_calls": [["index": .int(index), "function": ["arguments": .string($0)]]]], isPaced: true)
            }
        }
        frames.append(chunk([:], finish: .string(finishReason(answer))))
        if answer.includesUsage {
            frames.append(data(envelope(answer, object: "chat.completion.chunk", choices: [], usage: usage(answer.usage))))
        }
        frames.append(StreamFrame(text: "data: [DONE]\n\n"))
        return frames
    }

    static func error(_ error: RequestError) -> JSON {
        ["error": ["message": .string(error.message), "type": .string(errorType(error)), "param": nil, "code": errorCode(error)]]
    }

    static func errorFrame(_ error: RequestError) -> StreamFrame { data(self.error(error)) }

    private static func data(_ value: JSON, isPaced: Bool = false) -> StreamFrame {
        StreamFrame(text: "data: \(value.text)\n\n", isPaced: isPaced)
    }

    private static func envelope(_ answer: DemoAnswer, object: String, choices: [JSON], usage: JSON?) -> JSON {
        var fields: [(key: String, value: JSON)] = [
            ("id", "chatcmpl-demo-\(answer.id)"), ("object", .string(object)), ("created", .int(created)),
            ("model", .string(answer.model)),
            ("service_tier", "default"), ("system_fingerprint", "slipway_scripted"), ("choices", .array(choices)),
        ]
        if let usage { fields.append(("usage", usage)) }
        if answer.unknownParts { fields.append(("slipway_unknown", ["nested": true])) }
        return .object(fields)
    }

    private static func call(_ call: DemoAnswer.Call, arguments: String, index: Int? = nil) -> JSON {
        let place: [(key: String, value: JSON)] = index.map { [("index", .int($0))] } ?? []
        return .object(
            place + [
                ("id", .string(call.id)), ("type", "function"),
                ("function", ["name": .string(call.name), "arguments": .string(arguments)]),
            ])
    }

    private static func finishReason(_ answer: DemoAnswer) -> String {
        switch answer.stop {
        case "max_tokens": "length"
        case "tool_use": "tool_calls"
        case "refusal": "content_filter"
        default: "stop"
        }
    }

    private static func usage(_ usage: DemoUsage) -> JSON {
        let prompt = usage.input + usage.cacheRead + usage.cacheWrite
        return [
            "prompt_tokens": .int(prompt), "completion_tokens": .int(usage.output), "total_tokens": .int(prompt + usage.output),
            "prompt_tokens_details": ["cached_tokens": .int(usage.cacheRead), "audio_tokens": 0],
            "completion_tokens_details": [
                "reasoning_tokens": .int(usage.thinking), "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            ],
        ]
    }

    private static func errorType(_ error: RequestError) -> String {
        switch error.status {
        case 400, 401, 403, 404, 413: "invalid_request_error"
        case 429: "requests"
        default: "server_error"
        }
    }

    private static func errorCode(_ error: RequestError) -> JSON {
        switch error.status {
        case 401: "invalid_api_key"
        case 404: "model_not_found"
        case 429: "rate_limit_exceeded"
        default: nil
        }
    }
}
