import NIOCore

/// An error as the provider worded it: the body of a failed call, or an event in the middle of a stream.
package struct UpstreamError: Error, Sendable, Hashable {
    /// The provider's own kind, e.g. `overloaded_error`; `error` when it named none.
    package var type: String
    package var message: String
    /// OpenAI's finer word, e.g. `context_length_exceeded`.
    package var code: String?

    package init(type: String, message: String, code: String? = nil) {
        self.type = type
        self.message = message
        self.code = code
    }

    /// Reads any of the shapes in use: `{"error":{"type","message","code"}}`, `{"error":"text"}`, `{"message":"text"}`,
    /// `{"detail":"text"}`. A body of another kind becomes the message itself, cut at 500 bytes.
    package static func read(_ body: ByteBuffer) -> UpstreamError {
        body.withUnsafeReadableBytes { bytes in
            var cursor = JSONCursor(bytes)
            if let error = try? read(&cursor) { return error }
            let text = String(decoding: bytes.prefix(500), as: UTF8.self)
            return UpstreamError(type: "error", message: text.isEmpty ? "The provider gave no reason." : text)
        }
    }

    /// Reads an object that holds an error, or that is one; nil when it holds none.
    static func read(_ cursor: inout JSONCursor) throws(JSONFailure) -> UpstreamError? {
        var error = UpstreamError(type: "", message: "")
        var outerType: String?
        var walk = try cursor.enterObject()
        var inner: Range<Int>?
        while let key = try cursor.nextKey(&walk) {
            if key.equals("error"), cursor.peek() == UInt8(ascii: "{") {
                inner = try cursor.range()
            } else if key.equals("message") || key.equals("detail") || key.equals("error") {
                if let text = try cursor.optionalString(), error.message.isEmpty { error.message = text.string() }
            } else if key.equals("type") {
                outerType = try cursor.optionalString()?.string()
            } else if key.equals("code") {
                try error.readCode(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
        if let inner {
            var nested = JSONCursor(cursor, in: inner)
            try error.readFields(&nested)
        } else if let outerType {
            error.type = outerType
        }
        guard !error.message.isEmpty || !error.type.isEmpty || error.code != nil else { return nil }
        if error.type.isEmpty { error.type = "error" }
        if error.message.isEmpty { error.message = "The provider gave no reason." }
        return error
    }

    private mutating func readFields(_ cursor: inout JSONCursor) throws(JSONFailure) {
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("message") {
                if let text = try cursor.optionalString() { message = text.string() }
            } else if key.equals("type") {
                if let text = try cursor.optionalString() { type = text.string() }
            } else if key.equals("status") {
                // Gemini's kind, e.g. `RESOURCE_EXHAUSTED`.
                if let text = try cursor.optionalString(), type.isEmpty { type = text.string() }
            } else if key.equals("code") {
                try readCode(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    /// A word, or with some servers a number.
    private mutating func readCode(_ cursor: inout JSONCursor) throws(JSONFailure) {
        if cursor.peek() == UInt8(ascii: "\"") {
            code = try cursor.string().string()
        } else if let number = try cursor.optionalInt() {
            code = String(number)
        }
    }
}
