import NIOCore

/// Takes out of a Chat Completions stream the usage chunk that the gateway asked for and the client did not; every other byte
/// passes unchanged. An event that is not complete waits for its end, as only then is known what it is.
package struct UsageChunkFilter: Sendable {
    /// An event longer than this is no usage chunk and passes as it comes.
    static let longest = 64 << 10

    private var held = ByteBuffer()
    /// In the middle of an event that is too long to be one.
    private var passes = false
    private var isDone = false

    package init() {}

    package mutating func filter(_ bytes: ByteBuffer) -> ByteBuffer {
        if isDone { return bytes }
        var input = bytes
        if held.readableBytes > 0 {
            held.writeImmutableBuffer(bytes)
            input = held
            held = ByteBuffer()
        }
        var output = ByteBuffer()
        var start = 0
        input.withUnsafeReadableBytes { chunk in
            while let end = Self.endOfEvent(in: chunk, from: start) {
                if passes {
                    passes = false
                } else if Self.isUsageChunk(UnsafeRawBufferPointer(rebasing: chunk[start..<end])) {
                    isDone = true
                    if start > 0 { output.writeBytes(chunk[..<start]) }
                    output.writeBytes(chunk[end...])
                    start = chunk.count
                    return
                }
                start = end
            }
        }
        if isDone { return output }
        let rest = input.readableBytes - start
        if rest > Self.longest { passes = true }
        if passes || rest == 0 { return input }
        held = input.getSlice(at: input.readerIndex + start, length: rest) ?? ByteBuffer()
        return input.getSlice(at: input.readerIndex, length: start) ?? ByteBuffer()
    }

    /// What was held back when the stream ended.
    package mutating func finish() -> ByteBuffer {
        defer { held = ByteBuffer() }
        return held
    }

    /// Behind the blank line that ends the event, in any line ending.
    private static func endOfEvent(in chunk: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var position = start
        while position < chunk.count {
            let rest = UnsafeRawBufferPointer(rebasing: chunk[position...])
            guard let feed = lineEnd(in: rest) else { return nil }
            let line = position + feed.start
            let next = position + feed.end
            // A CR at the very end may be half of a CRLF.
            if line == position, next <= chunk.count {
                return next
            }
            position = next
        }
        return nil
    }

    private static func lineEnd(in bytes: UnsafeRawBufferPointer) -> (start: Int, end: Int)? {
        guard let start = bytes.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) else { return nil }
        let isPair = bytes[start] == 0x0D && start + 1 < bytes.count && bytes[start + 1] == 0x0A
        return (start, start + (isPair ? 2 : 1))
    }

    /// `choices` is an empty array and `usage` an object.
    private static func isUsageChunk(_ event: UnsafeRawBufferPointer) -> Bool {
        var parser = SSEParser(limit: longest, keepsNames: false)
        var position = 0
        guard let piece = try? parser.next(in: event, at: &position) else { return false }
        return piece.data(in: event).withUnsafeBytes { data in
            var cursor = JSONCursor(data)
            var isEmpty = false
            var hasUsage = false
            do throws(JSONFailure) {
                guard cursor.peek() == UInt8(ascii: "{") else { return false }
                var walk = try cursor.enterObject()
                while let key = try cursor.nextKey(&walk) {
                    if key.equals("choices") {
                        let range = try cursor.range()
                        isEmpty = data[range.lowerBound] == UInt8(ascii: "[") && range.count <= 4
                            && data[range].allSatisfy { $0 <= 0x20 || $0 == 0x5B || $0 == 0x5D }
                    } else if key.equals("usage") {
                        hasUsage = cursor.peek() == UInt8(ascii: "{")
                        try cursor.skipValue()
                    } else {
                        try cursor.skipValue()
                    }
                }
            } catch {
                return false
            }
            return isEmpty && hasUsage
        }
    }
}
