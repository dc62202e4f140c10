import Core
import NIOCore

/// What the gateway has to know of a request's body; everything else in it passes unread.
package struct RequestSummary: Sendable, Equatable {
    /// The result of a tool that the newest messages bring.
    package struct ToolResult: Sendable, Equatable {
        package var id: String
        package var text: String
        package var isError: Bool

        package init(id: String, text: String, isError: Bool) {
            self.id = id
            self.text = text
            self.isError = isError
        }
    }

    package var model: String = ""
    package var stream = false
    /// The limit in the protocol's own field; the larger one where a body names two; nil when it names none.
    package var maxOutputTokens: TokenCount?
    /// Chat Completions `n`, Gemini `candidateCount`: each answer may use the whole `maxOutputTokens`.
    package var answers = 1
    /// The last text of the last message, if that is the user's.
    package var lastUserText: String?
    /// The results that the last message brings (Chat Completions: the `tool` messages at the end), in order.
    package var toolResults: [ToolResult] = []
    /// The body is not all that the model will read, or not by far: files, URLs, documents, audio, stored conversations, tools that
    /// the provider runs. Its size then bounds nothing but the model's context does.
    package var refersToStoredInput = false
    package var images = 0
    /// Responses: the provider would answer later, to a call that the gateway does not see.
    package var isBackground = false
    package var hasTools = false
    /// How many vectors are asked for; nil: it is no request for embeddings.
    package var embeddings: Int?
    /// Some of what is to become a vector is numbers of tokens, which only the model can read.
    package var holdsTokens = false
    /// The class of service that is asked for; nil: none, `auto`, or a word that is not known here, so any may come.
    package var serviceTier: ServiceTier?
    /// Chat Completions: `stream_options.include_usage`; nil when the body does not say.
    package var includeUsage: Bool?
    /// Messages: `metadata.user_id`, in which some clients put their session.
    package var metadataUserID: String?
    /// Where each message (Responses: item; Gemini: content) lies in the body, in order.
    package var messageRanges: [Range<Int>] = []
    /// Where the name of the model lies in the body; nil when the path names it.
    package var modelValue: Range<Int>?
    var streamOptions: Range<Int>?
    var includeUsageValue: Range<Int>?

    package var lastToolResultIDs: [String] { toolResults.map(\.id) }

    /// The most input tokens that the provider can count for the body; nil when only the model's context bounds them.
    ///
    /// A token has at least one byte. Not in the body are the provider's own words around it and around tools, and what an image
    /// stands for (the largest counts about 4,800).
    package func inputTokenBound(bodyBytes: Int) -> TokenCount? {
        if refersToStoredInput { return nil }
        return embeddings.map { bodyBytes + 16 * $0 } ?? bodyBytes + (hasTools ? 4_096 : 128) + images * 5_000
    }

    /// - Parameter path: Gemini: the request's path, which names the model and whether to stream; others ignore it.
    /// - Throws: `badRequest` that names the field, what it is and what is expected.
    package static func read(_ body: ByteBuffer, as api: ModelProtocol, path: String? = nil) throws(AppError) -> RequestSummary {
        let result: Result<RequestSummary, AppError> = body.withUnsafeReadableBytes { bytes in
            var reader = RequestReader(bytes, api)
            do throws(AppError) {
                return .success(try reader.read())
            } catch {
                return .failure(error)
            }
        }
        var summary = try result.get()
        if api == .gemini { try summary.readGeminiPath(path ?? "") }
        return summary
    }
}
