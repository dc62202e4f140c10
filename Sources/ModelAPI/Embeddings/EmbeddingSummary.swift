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
    /// Some of the input is numbers of tokens, which only the model can read.
    package var holdsTokens = false
    /// Gemini: files that are not in the body, so that its size says nothing of theirs.
    package var refersToStoredInput = false
    /// Where the name of the model lies in the body; nil when the path names it.
    package var modelValue: Range<Int>?

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
            let node = try root.require("model", "the id of a model")
            let model = try node.string()
            guard (1...256).contains(model.utf8.count) else {
                throw AppError(.badRequest, "\"model\" must have 1 to 256 bytes.", field: "model")
            }
            let input = try root.require("input", "a text or an array")
            if input.isString { return EmbeddingSummary(model: model, inputs: 1, modelValue: node.range) }
            let elements = try input.elements()
            // An array of numbers is one text, already cut into tokens.
            let isTokens = elements.first.map { !$0.isString && !$0.isArray } ?? false
            var result = EmbeddingSummary(
                model: model, inputs: isTokens ? 1 : max(1, elements.count), holdsTokens: !elements.allSatisfy(\.isString),
                modelValue: node.range)
            // Servers that imitate the protocol take addresses of pictures so.
            result.refersToStoredInput = elements.contains(where: \.isObject)
            return result
        case .gemini:
            var summary = RequestSummary()
            try summary.readGeminiPath(path ?? "")
            let requests = try root.elements("requests")
            var result = EmbeddingSummary(model: summary.model, inputs: max(1, requests.count))
            for node in requests {
                var request = try node.fields()
                try result.readGemini(&request)
            }
            try result.readGemini(&root)
            return result
        }
    }

    /// - Throws: `badRequest` for another model than the path's: that one was judged and priced.
    private mutating func readGemini(_ request: inout JSONFields) throws(AppError) {
        if let named = try request.string("model"), named != "models/\(model)", named != model {
            throw AppError(
                .badRequest, "\"model\" must be models/\(model.prefix(128)), as in the path, or be left out.", field: "model")
        }
        guard var content = try request.fields("content") else { return }
        for node in try content.elements("parts") {
            var part = try node.fields()
            // How many tokens a picture or a packed document has does not show in its bytes.
            for name in ["fileData", "file_data", "inlineData", "inline_data"] where part.take(name) != nil {
                refersToStoredInput = true
            }
        }
    }
}
