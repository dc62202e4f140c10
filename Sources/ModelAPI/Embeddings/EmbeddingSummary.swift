import Core
import NIOCore

/// What the gateway has to know of a request for embeddings; the body itself passes unread.
package struct EmbeddingSummary: Sendable, Equatable {
    /// The wire formats that have embeddings.
    package enum Format: Sendable, CaseIterable {
        /// OpenAI's `POST /v1/embeddings` and its imitators.
        case openAI
        /// Gemini's `…/models/<model>:embedContent` and `:batchEmbedContents`.
        case gemini
    }

    package var model: String
    /// How many vectors are asked for, at least 1.
    package var inputs: Int

    /// The most input tokens that can be counted: a token has at least one byte, in a text as well as in a list of numbers.
    package func inputTokenBound(bodyBytes: Int) -> TokenCount { bodyBytes + 16 * inputs }

    /// - Parameter path: Gemini: the request's path, which names the model; others ignore it.
    /// - Throws: `badRequest` that names the field, what it is and what is expected.
    package static func read(_ body: ByteBuffer, as format: Format, path: String? = nil) throws(AppError) -> EmbeddingSummary {
        let result: Result<EmbeddingSummary, AppError> = body.withUnsafeReadableBytes { bytes in
            do throws(AppError) {
                let root = try JSONNode.document(bytes).fields()
                return .success(try read(root, format, path))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func read(_ root: JSONFields, _ format: Format, _ path: String?) throws(AppError) -> EmbeddingSummary {
        var root = root
        switch format {
        case .openAI:
            let model = try root.require("model", "the id of a model").string()
            guard (1...256).contains(model.utf8.count) else {
                throw AppError(.badRequest, "\"model\" must have 1 to 256 bytes.", field: "model")
            }
            let input = try root.require("input", "a text or an array")
            if input.isString { return EmbeddingSummary(model: model, inputs: 1) }
            let elements = try input.elements()
            // An array of numbers is one text, already cut into tokens.
            let isTokens = elements.first.map { !$0.isString && !$0.isArray } ?? false
            return EmbeddingSummary(model: model, inputs: isTokens ? 1 : max(1, elements.count))
        case .gemini:
            var summary = RequestSummary()
            try summary.readGeminiPath(path ?? "")
            let requests = try root.elements("requests")
            return EmbeddingSummary(model: summary.model, inputs: max(1, requests.count))
        }
    }
}
