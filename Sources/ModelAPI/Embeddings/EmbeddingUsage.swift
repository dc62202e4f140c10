import Core
import NIOCore

/// What an answer with embeddings reports: the vectors are skipped.
package struct EmbeddingUsage: Sendable, Equatable {
    /// Nil when the provider reported none, as older versions of Gemini do not.
    package var usage: Usage?
    package var model: String?
    package var error: UpstreamError?

    package static func read(_ body: ByteBuffer, as format: EmbeddingSummary.Format) -> EmbeddingUsage {
        body.withUnsafeReadableBytes { bytes in
            var result = EmbeddingUsage()
            var cursor = JSONCursor(bytes)
            do throws(JSONFailure) {
                try result.read(&cursor, format)
            } catch {
                result.error = UpstreamError(
                    type: "invalid_answer",
                    message: "The answer is not valid JSON at byte \(error.offset): expected \(error.expected).")
            }
            return result
        }
    }

    private mutating func read(_ cursor: inout JSONCursor, _ format: EmbeddingSummary.Format) throws(JSONFailure) {
        var tally = UsageTally(convention: format == .openAI ? .chatCompletions : .gemini)
        let start = cursor
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("usage") || key.equals("usageMetadata") {
                try tally.read(&cursor)
            } else if key.equals("model") {
                model = try cursor.optionalString()?.string()
            } else if key.equals("error"), try !cursor.skipNull() {
                try cursor.skipValue()
                var whole = start
                error = try UpstreamError.read(&whole)
            } else if !key.equals("error") {
                try cursor.skipValue()
            }
        }
        try cursor.expectEnd()
        usage = tally.usage
    }
}
