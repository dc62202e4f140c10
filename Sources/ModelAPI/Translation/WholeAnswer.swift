import Core
import NIOCore

/// An upstream's answer that came in one piece, in the client's protocol.
package struct WholeAnswer: Sendable {
    package var body: ByteBuffer
    /// What the answer had and the client's protocol has not.
    package var losses: Losses
    /// Has read the upstream's answer: usage, content, end.
    package var reader: AnswerReader

    /// - Throws: `upstream` for a body that is no answer of the upstream's protocol.
    package static func translate(
        _ body: ByteBuffer, _ request: ClientRequest, from format: UpstreamFormat, _ context: AnswerContext
    ) throws(AppError) -> WholeAnswer {
        var reader = AnswerReader(format.api, streamed: false)
        reader.prefersText = true
        try reader.feed(format.readable(body))
        reader.finish()
        if let error = reader.error { throw AppError(.upstream, error.message, detail: error.type) }
        guard reader.isComplete else {
            throw AppError(.upstream, "The model's provider answered with something that is no answer; try again.")
        }
        // Anthropic's own protocol on both sides.
        if format == .bedrockMessages, request.api == .messages {
            return WholeAnswer(body: body, losses: Losses(), reader: reader)
        }
        var losses = Losses()
        var blocks: [AnswerBlock] = []
        for block in reader.blocks {
            switch block {
            case .text(let text) where text.isEmpty: break
            case .thinking(let text, let signature?) where format == .gemini:
                blocks.append(.thinking(text: text, signature: Signature.gemini + signature))
            case .other(let json): losses.note("answer.\(BlockBuilder.typeWord(json))")
            default: blocks.append(block)
            }
        }
        for block in blocks {
            if let name = block.unsaid(to: request.api) { losses.note(name) }
        }
        let json =
            switch request.api {
            case .messages, .gemini: MessagesAnswer(context: context).whole(reader, blocks)
            case .chatCompletions: ChatAnswer(context: context).whole(reader, blocks)
            case .responses: ResponsesAnswer(context: context).whole(reader, blocks)
            }
        return WholeAnswer(body: json.buffer, losses: losses, reader: reader)
    }
}
