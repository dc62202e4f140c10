import Core

extension ErrorShape {
    /// Every open item is ended as incomplete, then the answer.
    static func responsesEnd(_ reader: AnswerReader, _ text: inout String) {
        var sequence = reader.sequence
        func event(_ type: String, _ body: (inout JSONWriter) -> Void) -> String {
            sequence += 1
            let json = JSONWriter.object {
                $0.field("type", type)
                $0.field("sequence_number", sequence)
                body(&$0)
            }
            return "event: \(type)\ndata: \(json.text)\n\n"
        }
        for builder in reader.builders where !builder.isClosed {
            guard let item = builder.incompleteItem else { continue }
            text += event("response.output_item.done") {
                $0.field("output_index", builder.index)
                $0.field("item", raw: item)
            }
        }
        let usage = reader.usage ?? Usage()
        let output = reader.estimatedOutput
        text += event("response.incomplete") {
            $0.fieldObject("response") {
                $0.field("id", reader.id ?? "resp_cut")
                $0.field("object", "response")
                $0.field("created_at", reader.created ?? 0)
                $0.field("status", "incomplete")
                $0.fieldNull("error")
                $0.fieldObject("incomplete_details") { $0.field("reason", "max_output_tokens") }
                $0.field("model", reader.model ?? "")
                $0.fieldArray("output") { items in
                    for builder in reader.builders {
                        if let item = builder.incompleteItem { items.raw(item) }
                    }
                }
                $0.fieldObject("usage") {
                    $0.field("input_tokens", usage.totalInput)
                    $0.fieldObject("input_tokens_details") { $0.field("cached_tokens", usage.cacheRead) }
                    $0.field("output_tokens", output)
                    $0.fieldObject("output_tokens_details") { $0.field("reasoning_tokens", usage.reasoning) }
                    $0.field("total_tokens", usage.totalInput + output)
                }
            }
        }
    }

    static func geminiEnd(_ reader: AnswerReader, _ text: inout String) {
        let usage = reader.usage ?? Usage()
        let output = reader.estimatedOutput
        let json = JSONWriter.object { json in
            json.fieldArray("candidates") { candidates in
                for index in reader.openChoices {
                    candidates.object {
                        $0.fieldObject("content") {
                            $0.fieldArray("parts") { $0.object { $0.field("text", "") } }
                            $0.field("role", "model")
                        }
                        $0.field("finishReason", "MAX_TOKENS")
                        $0.field("index", index)
                    }
                }
            }
            json.fieldObject("usageMetadata") {
                $0.field("promptTokenCount", usage.totalInput)
                $0.field("candidatesTokenCount", output)
                $0.field("totalTokenCount", usage.totalInput + output)
            }
            if let model = reader.model { json.field("modelVersion", model) }
            if let id = reader.id { json.field("responseId", id) }
        }
        text += "data: \(json.text)\n\n"
    }
}

extension BlockBuilder {
    /// The item as it stands, for the end of a cut Responses stream; nil where it cannot be told.
    fileprivate var incompleteItem: String? {
        let status = isClosed ? "completed" : "incomplete"
        let content = String(decoding: bytes, as: UTF8.self)
        switch kind {
        case .text:
            return JSONWriter.object {
                $0.field("type", "message")
                $0.field("id", "msg_cut_\(index)")
                $0.field("role", "assistant")
                $0.field("status", status)
                $0.fieldArray("content") {
                    $0.object {
                        $0.field("type", "output_text")
                        $0.field("text", content)
                        $0.fieldArray("annotations") { _ in }
                    }
                }
            }.text
        case .toolUse:
            return JSONWriter.object {
                $0.field("type", "function_call")
                $0.field("id", "fc_cut_\(index)")
                $0.field("call_id", id)
                $0.field("name", name)
                $0.field("arguments", content)
                $0.field("status", status)
            }.text
        case .thinking: return signature.isEmpty ? nil : String(decoding: signature, as: UTF8.self)
        case .other: return json.isEmpty ? nil : json
        case .redactedThinking: return nil
        }
    }
}
