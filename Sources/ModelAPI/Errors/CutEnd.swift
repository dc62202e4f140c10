import Core
import NIOCore

extension ErrorShape {
    /// The end of a stream that Slipway cuts, such that the client takes it for an answer that reached its output limit: open
    /// blocks are closed, then stop reason, usage and end follow, from where the reader stands.
    ///
    /// Only valid between two events (`reader.bytesSinceBoundary == 0`); empty when the answer is already complete.
    /// - Parameters:
    ///   - reader: has been fed every byte that the client got, and no other.
    ///   - reason: for people who read the stream: goes into an SSE comment, on one line.
    ///   - includeUsage: Chat Completions: whether the client asked for the usage chunk.
    package static func cutEnd(_ reader: AnswerReader, reason: String, requestID: String, includeUsage: Bool = false) -> ByteBuffer
    {
        if reader.isComplete { return ByteBuffer() }
        guard reader.isStarted else { return streamError(reader.api, message: reason, requestID: requestID) }
        let line = reason.split(whereSeparator: \.isNewline).joined(separator: " ")
        var text = ": cut by slipway: \(line)\n\n"
        switch reader.api {
        case .messages: messagesEnd(reader, &text)
        case .chatCompletions: chatEnd(reader, includeUsage, &text)
        case .responses: responsesEnd(reader, &text)
        case .gemini: geminiEnd(reader, &text)
        }
        return ByteBuffer(string: text)
    }

    private static func messagesEnd(_ reader: AnswerReader, _ text: inout String) {
        for index in reader.openBlocks {
            text += "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":\(index)}\n\n"
        }
        if reader.stopReason == nil {
            let output = reader.estimatedOutput
            text += "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\","
            text += "\"stop_sequence\":null},\"usage\":{\"output_tokens\":\(output)}}\n\n"
        }
        text += "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    }

    private static func chatEnd(_ reader: AnswerReader, _ includeUsage: Bool, _ text: inout String) {
        for index in reader.openChoices {
            text +=
                "data: "
                + chunk(reader) { json in
                    json.fieldArray("choices") { choices in
                        choices.object {
                            $0.field("index", index)
                            $0.fieldObject("delta") { _ in }
                            $0.field("finish_reason", "length")
                        }
                    }
                } + "\n\n"
        }
        if includeUsage {
            let usage = reader.usage ?? Usage()
            let output = reader.estimatedOutput
            text +=
                "data: "
                + chunk(reader) { json in
                    json.fieldArray("choices") { _ in }
                    json.fieldObject("usage") {
                        $0.field("prompt_tokens", usage.totalInput)
                        $0.field("completion_tokens", output)
                        $0.field("total_tokens", usage.totalInput + output)
                    }
                } + "\n\n"
        }
        text += "data: [DONE]\n\n"
    }

    private static func chunk(_ reader: AnswerReader, _ body: (inout JSONWriter) -> Void) -> String {
        JSONWriter.object { json in
            json.field("id", reader.id ?? "chatcmpl-cut")
            json.field("object", "chat.completion.chunk")
            json.field("created", reader.created ?? 0)
            json.field("model", reader.model ?? "")
            body(&json)
        }.text
    }
}
