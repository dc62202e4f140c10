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
        case .chatCompletions, .messages: return nil
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
            return invoked(try request.encode(for: format, model: model, defaultMaxOutputTokens: leastLimit).body)
        case .bedrockConverse:
            var fitting = Fitting(request, format, model, leastLimit)
            try fitting.fit()
            let inner = fitting.conversation.encodeConverse(isCount: true)
            return JSONWriter.object { json in
                json.fieldObject("input") { $0.field("converse", raw: String(buffer: inner)) }
            }.buffer
        }
    }

    /// The request's body for Claude on Bedrock: the client's own, as `InvokeModel` would get it.
    ///
    /// - Parameters:
    ///   - body: of `POST /v1/messages/count_tokens`.
    ///   - betas: those that Bedrock takes.
    /// - Throws: `badRequest` for what is no JSON object.
    package static func bedrockBody(_ body: ByteBuffer, betas: [String]) throws(AppError) -> ByteBuffer {
        // A limit has to be there and lie above what is given for thinking; what is counted does not depend on it.
        let thinking = body.withUnsafeReadableBytes { bytes -> TokenCount in
            guard var fields = try? JSONNode.document(bytes).fields(), var thinking = (try? fields.fields("thinking")) ?? nil,
                let budget = (try? thinking.count("budget_tokens")) ?? nil
            else { return 0 }
            return min(budget, 1_000_000)
        }
        let edits = try BedrockBody.edits(body, betas: betas, outputLimit: thinking + leastLimit)
        return invoked(BodyEdit.apply(all: edits, to: body))
    }

    private static let leastLimit: TokenCount = 1024

    private static func invoked(_ body: ByteBuffer) -> ByteBuffer {
        JSONWriter.object {
            $0.fieldObject("input") {
                $0.fieldObject("invokeModel") { $0.field("body", Base64.encode(Array(body.readableBytesView))) }
            }
        }.buffer
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
