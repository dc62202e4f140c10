/// The wire format that a client and its provider speak. Bytes pass between them untouched; this says how to read them.
package enum ModelProtocol: String, Sendable, Codable, CaseIterable {
    /// Anthropic Messages: `POST /v1/messages`.
    case messages
    /// OpenAI Chat Completions and the many servers that imitate it: `POST /v1/chat/completions`.
    case chatCompletions = "chat_completions"
    /// OpenAI Responses: `POST /v1/responses`.
    case responses
    /// Google Gemini: `POST /v1beta/models/<model>:generateContent`, or `:streamGenerateContent?alt=sse`.
    case gemini
}
