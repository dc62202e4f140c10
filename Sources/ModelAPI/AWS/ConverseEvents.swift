/// Tells Bedrock's `ConverseStream` events in Anthropic's words, which are nearly the same and count alike, so that one reader
/// reads both.
///
/// Different are: blocks of text begin without an event, the usage comes behind the stop reason, and nothing comes behind it.
struct ConverseEvents: Sendable {
    private var open: Set<Int> = []
    private var isStarted = false
    private var stop: String?

    /// - Parameter type: the frame's `:event-type`.
    /// - Returns: the data of Anthropic's events.
    mutating func take(_ type: String, _ payload: [UInt8]) -> [[UInt8]] {
        payload.withUnsafeBytes { bytes -> [[UInt8]] in
            guard var fields = try? JSONNode.document(bytes).fields() else { return [] }
            let index = ((try? fields.count("contentBlockIndex")) ?? nil) ?? 0
            switch type {
            case "messageStart": return start()
            case "contentBlockStart":
                guard var start = (try? fields.fields("start")) ?? nil, var tool = (try? start.fields("toolUse")) ?? nil else {
                    return []
                }
                open.insert(index)
                return self.start() + [Self.begin(index) { $0.converseCall(&tool) }]
            case "contentBlockDelta":
                guard let delta = (try? fields.fields("delta")) ?? nil else { return [] }
                return start() + self.delta(index, delta)
            case "contentBlockStop":
                guard open.remove(index) != nil else { return [] }
                return [
                    JSONWriter.object {
                        $0.field("type", "content_block_stop")
                        $0.field("index", index)
                    }.bytes
                ]
            case "messageStop":
                stop = ((try? fields.string("stopReason")) ?? nil) ?? "end_turn"
                return []
            case "metadata": return end(fields.take("usage"))
            default: return []
            }
        }
    }

    /// The end, where the usage never came.
    mutating func finish() -> [[UInt8]] { end(nil) }

    private mutating func start() -> [[UInt8]] {
        if isStarted { return [] }
        isStarted = true
        return [Array(#"{"type":"message_start","message":{"role":"assistant","content":[]}}"#.utf8)]
    }

    private mutating func delta(_ index: Int, _ fields: JSONFields) -> [[UInt8]] {
        var fields = fields
        if let text = (try? fields.string("text")) ?? nil {
            return begun(index, "text") + [Self.delta(index, "text_delta", "text", text)]
        }
        if var tool = (try? fields.fields("toolUse")) ?? nil, let input = (try? tool.string("input")) ?? nil {
            return [Self.delta(index, "input_json_delta", "partial_json", input)]
        }
        guard var reasoning = (try? fields.fields("reasoningContent")) ?? nil else { return [] }
        if let text = (try? reasoning.string("text")) ?? nil {
            return begun(index, "thinking") + [Self.delta(index, "thinking_delta", "thinking", text)]
        }
        if let signature = (try? reasoning.string("signature")) ?? nil {
            return begun(index, "thinking") + [Self.delta(index, "signature_delta", "signature", signature)]
        }
        if let data = (try? reasoning.string("redactedContent")) ?? nil, open.insert(index).inserted {
            return [
                Self.begin(index) {
                    $0.field("type", "redacted_thinking")
                    $0.field("data", data)
                }
            ]
        }
        return []
    }

    private mutating func begun(_ index: Int, _ type: String) -> [[UInt8]] {
        guard open.insert(index).inserted else { return [] }
        return [Self.begin(index) { $0.field("type", type) }]
    }

    private mutating func end(_ usage: JSONNode?) -> [[UInt8]] {
        guard let reason = stop else { return [] }
        stop = nil
        let delta = JSONWriter.object {
            $0.field("type", "message_delta")
            $0.fieldObject("delta") { $0.field("stop_reason", ConverseWords.stop(reason)) }
            if let usage { $0.fieldObject("usage") { $0.converseUsage(usage) } }
        }
        return [delta.bytes, Array(#"{"type":"message_stop"}"#.utf8)]
    }

    private static func begin(_ index: Int, _ block: (inout JSONWriter) -> Void) -> [UInt8] {
        JSONWriter.object {
            $0.field("type", "content_block_start")
            $0.field("index", index)
            $0.fieldObject("content_block", block)
        }.bytes
    }

    private static func delta(_ index: Int, _ type: String, _ key: StaticString, _ text: String) -> [UInt8] {
        JSONWriter.object {
            $0.field("type", "content_block_delta")
            $0.field("index", index)
            $0.fieldObject("delta") {
                $0.field("type", type)
                $0.field(key, text)
            }
        }.bytes
    }
}

enum ConverseWords {
    static func stop(_ reason: String) -> String {
        switch reason {
        case "guardrail_intervened", "content_filtered": "refusal"
        default: reason
        }
    }

    /// A whole answer of `Converse` as Anthropic's message; nil for what is none.
    static func message(_ body: [UInt8]) -> [UInt8]? {
        body.withUnsafeBytes { bytes -> [UInt8]? in
            guard var fields = try? JSONNode.document(bytes).fields(), var output = (try? fields.fields("output")) ?? nil,
                var message = (try? output.fields("message")) ?? nil, let content = try? message.elements("content")
            else { return nil }
            let reason = ((try? fields.string("stopReason")) ?? nil) ?? "end_turn"
            return JSONWriter.object { json in
                json.field("type", "message")
                json.fieldArray("content") { array in
                    for node in content {
                        guard var block = try? node.fields() else { continue }
                        array.object { $0.converseAnswer(&block) }
                    }
                }
                json.field("stop_reason", stop(reason))
                if let usage = fields.take("usage") { json.fieldObject("usage") { $0.converseUsage(usage) } }
            }.bytes
        }
    }
}

extension JSONWriter {
    fileprivate mutating func converseCall(_ tool: inout JSONFields) {
        field("type", "tool_use")
        field("id", ((try? tool.string("toolUseId")) ?? nil) ?? "")
        field("name", ((try? tool.string("name")) ?? nil) ?? "")
        field("input", raw: tool.take("input").flatMap { try? $0.object() } ?? "{}")
    }

    fileprivate mutating func converseAnswer(_ block: inout JSONFields) {
        if let text = (try? block.string("text")) ?? nil {
            field("type", "text")
            field("text", text)
        } else if var tool = (try? block.fields("toolUse")) ?? nil {
            converseCall(&tool)
        } else if var reasoning = (try? block.fields("reasoningContent")) ?? nil {
            if var text = (try? reasoning.fields("reasoningText")) ?? nil {
                field("type", "thinking")
                field("thinking", ((try? text.string("text")) ?? nil) ?? "")
                field("signature", ((try? text.string("signature")) ?? nil) ?? "")
            } else {
                field("type", "redacted_thinking")
                field("data", ((try? reasoning.string("redactedContent")) ?? nil) ?? "")
            }
        } else {
            // A kind that is not known here: told as unknown, so that it is named as lost.
            field(
                "type", block.remainder.first.flatMap { $0.split(separator: ".").last }.map { String($0.prefix(60)) } ?? "unknown")
        }
    }

    /// `inputTokens` is without what was cached, as in Anthropic's own counting.
    fileprivate mutating func converseUsage(_ node: JSONNode) {
        guard var usage = try? node.fields() else { return }
        for (theirs, ours) in [
            ("inputTokens", "input_tokens" as StaticString), ("outputTokens", "output_tokens"),
            ("cacheReadInputTokens", "cache_read_input_tokens"), ("cacheWriteInputTokens", "cache_creation_input_tokens"),
        ] {
            if let count = (try? usage.count(theirs)) ?? nil { field(ours, count) }
        }
    }
}
