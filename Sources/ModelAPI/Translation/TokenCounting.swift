import Core
import NIOCore

/// Asking a provider how many tokens a conversation has, before it is sent. Never by a paid call.
package enum TokenCounting {
    /// The request's body for the upstream; nil where the upstream cannot count, which is then said to the client.
    ///
    /// - Parameter request: read from the body of `POST /v1/messages/count_tokens`, which has the fields of a call.
    package static func body(
        _ request: ClientRequest, for format: UpstreamFormat, model: String
    ) throws(AppError) -> ByteBuffer? {
        var request = request
        request.stream = false
        request.conversation.sessionID = nil
        request.conversation.user = nil
        request.conversation.sampling = Sampling()
        request.conversation.maxOutputTokens = nil
        switch format {
        case .chatCompletions, .messages, .bedrockConverse: return nil
        case .responses:
            var fitting = Fitting(request, format, model, 0)
            try fitting.fit()
            return fitting.conversation.encodeResponses(stream: false, isCount: true)
        case .gemini:
            let inner = try request.encode(for: format, model: model).body
            let json = JSONWriter.object {
                $0.fieldObject("generateContentRequest") {
                    $0.field("model", "models/\(model)")
                    $0.members(of: String(buffer: inner))
                }
            }
            return json.buffer
        case .bedrockMessages:
            // Bedrock counts what `InvokeModel` would get, which has to name a limit.
            let inner = try request.encode(for: format, model: model, defaultMaxOutputTokens: 1024).body
            let json = JSONWriter.object {
                $0.fieldObject("input") {
                    $0.fieldObject("invokeModel") { $0.field("body", Base64.encode(Array(inner.readableBytesView))) }
                }
            }
            return json.buffer
        }
    }

    /// The count in an answer of Anthropic (`input_tokens`), Responses (`input_tokens`), Gemini (`totalTokens`) or Bedrock
    /// (`inputTokens`); nil when there is none.
    package static func count(in answer: ByteBuffer) -> TokenCount? {
        answer.withUnsafeReadableBytes { bytes -> TokenCount? in
            guard var fields = try? JSONNode.document(bytes).fields() else { return nil }
            for name in ["input_tokens", "totalTokens", "inputTokens"] {
                if let count = try? fields.count(name) { return count }
            }
            return nil
        }
    }

    /// The answer to the client.
    package static func answer(_ count: TokenCount) -> ByteBuffer { JSONWriter.object { $0.field("input_tokens", count) }.buffer }
}
