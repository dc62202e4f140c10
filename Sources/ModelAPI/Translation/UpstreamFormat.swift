import Core
import NIOCore

/// What an upstream wants its requests written in, and answers in.
package enum UpstreamFormat: String, Sendable, Hashable, CaseIterable {
    case messages
    case chatCompletions = "chat_completions"
    case responses
    case gemini
    /// Claude on Amazon Bedrock, by `InvokeModel` and `InvokeModelWithResponseStream`: Anthropic's own body, its events in frames.
    case bedrockMessages = "bedrock_messages"
    /// All other models on Amazon Bedrock, by `Converse` and `ConverseStream`; its answers are read in Anthropic's words.
    case bedrockConverse = "bedrock_converse"

    /// The protocol of its answers, once they are out of their frames.
    package var api: ModelProtocol {
        switch self {
        case .messages, .bedrockMessages, .bedrockConverse: .messages
        case .chatCompletions: .chatCompletions
        case .responses: .responses
        case .gemini: .gemini
        }
    }

    /// A whole answer in the words of `api`. What is no answer of `Converse` stays as it is, which says what it is instead.
    package func readable(_ body: ByteBuffer) -> ByteBuffer {
        guard self == .bedrockConverse, let message = ConverseWords.message(Array(body.readableBytesView)) else { return body }
        return ByteBuffer(bytes: message)
    }

    /// OpenAI's two protocols agree on what neither of the others has.
    var isOpenAI: Bool { self == .chatCompletions || self == .responses }
}

/// A request in the upstream's protocol, and what is needed to translate its answer back.
package struct UpstreamRequest: Sendable {
    package var body: ByteBuffer
    /// All that the client asked for and this body does not.
    package var losses: Losses
    /// The client's names of tools whose names the upstream would not take, by those it was given.
    package var toolNames: [String: String]
}

extension ClientRequest {
    /// - Parameters:
    ///   - model: the upstream's name for the model.
    ///   - defaultMaxOutputTokens: what to ask for where the upstream wants a limit and the client named none.
    /// - Throws: `badRequest` for content that the upstream cannot take: leaving it out would change what is asked.
    package func encode(
        for format: UpstreamFormat, model: String, defaultMaxOutputTokens: TokenCount = 32_000
    ) throws(AppError) -> UpstreamRequest {
        var fitting = Fitting(self, format, model, defaultMaxOutputTokens)
        try fitting.fit()
        let conversation = fitting.conversation
        let body =
            switch format {
            case .messages: conversation.encodeMessages(stream: stream)
            case .bedrockMessages: conversation.encodeMessages(stream: stream, isBedrock: true)
            case .bedrockConverse: conversation.encodeConverse()
            case .chatCompletions: conversation.encodeChat(stream: stream)
            case .responses: conversation.encodeResponses(stream: stream)
            case .gemini: conversation.encodeGemini()
            }
        return UpstreamRequest(body: body, losses: fitting.losses, toolNames: fitting.toolNames)
    }
}
