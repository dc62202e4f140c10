import NIOCore

/// A change to a request's body on its way to the provider: named, and of one range of bytes; all other bytes stay as they came.
package struct BodyEdit: Sendable, Equatable {
    /// The field that is changed; part of the record.
    package var name: String
    /// The bytes that are replaced, counted from the body's first readable byte.
    package var range: Range<Int>
    package var replacement: String

    package init(name: String, range: Range<Int>, replacement: String) {
        self.name = name
        self.range = range
        self.replacement = replacement
    }

    package func apply(to body: ByteBuffer) -> ByteBuffer {
        var result = ByteBuffer()
        result.reserveCapacity(body.readableBytes + replacement.utf8.count)
        let start = body.readerIndex
        if let head = body.getSlice(at: start, length: range.lowerBound) { result.writeImmutableBuffer(head) }
        result.writeString(replacement)
        let tail = body.readableBytes - range.upperBound
        if let rest = body.getSlice(at: start + range.upperBound, length: tail) { result.writeImmutableBuffer(rest) }
        return result
    }

    /// Asks a streamed chat completion for its usage, which the client did not: its extra chunk then has to be taken out of the
    /// answer (`UsageChunkFilter`). Nil when there is nothing to change, or `stream_options` is none that the provider would take.
    package static func includeUsage(_ summary: RequestSummary, in body: ByteBuffer) -> BodyEdit? {
        guard summary.stream, summary.includeUsage != true else { return nil }
        let name = "stream_options.include_usage"
        if let value = summary.includeUsageValue { return BodyEdit(name: name, range: value, replacement: "true") }
        return body.withUnsafeReadableBytes { bytes -> BodyEdit? in
            var cursor = JSONCursor(bytes)
            if let options = summary.streamOptions {
                if cursor.text(options) == "null" {
                    return BodyEdit(name: name, range: options, replacement: #"{"include_usage":true}"#)
                }
                var inner = JSONCursor(cursor, in: options)
                guard (try? inner.enterObject()) != nil else { return nil }
                let comma = inner.peek() == UInt8(ascii: "}") ? "" : ","
                let place = options.lowerBound + 1
                return BodyEdit(name: name, range: place..<place, replacement: #""include_usage":true"# + comma)
            }
            // The model is named, so the object is not empty and a comma must follow.
            guard (try? cursor.enterObject()) != nil else { return nil }
            return BodyEdit(name: name, range: cursor.at..<cursor.at, replacement: #""stream_options":{"include_usage":true},"#)
        }
    }
}

extension BodyEdit {
    /// Applies edits whose ranges ascend and do not overlap, all counted in the body as it came.
    package static func apply(all edits: [BodyEdit], to body: ByteBuffer) -> ByteBuffer {
        if edits.count == 1 { return edits[0].apply(to: body) }
        var result = ByteBuffer()
        result.reserveCapacity(body.readableBytes + edits.reduce(0) { $0 + $1.replacement.utf8.count })
        var position = 0
        func keep(upTo end: Int) {
            let start = body.readerIndex + position
            if let piece = body.getSlice(at: start, length: end - position) { result.writeImmutableBuffer(piece) }
            position = end
        }
        for edit in edits {
            keep(upTo: edit.range.lowerBound)
            result.writeString(edit.replacement)
            position = edit.range.upperBound
        }
        keep(upTo: body.readableBytes)
        return result
    }
}
