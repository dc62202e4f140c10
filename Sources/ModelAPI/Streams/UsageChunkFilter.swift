import Core
import NIOCore

/// Takes out of a Chat Completions stream the usage chunk that the gateway asked for and the client did not; every other event
/// passes unchanged. An event that is not complete waits for its end, as only then is known what it is.
package struct UsageChunkFilter: Sendable {
    /// An event longer than this is no usage chunk and passes as it comes.
    static let longest = 64 << 10

    private var parser = SSEParser(limit: SSEParser.defaultLimit, keepsNames: false)
    private var held = ByteBuffer()
    /// In the middle of an event that is too long to be held.
    private var passes = false
    /// Found it, or the stream cannot be read: from here on everything passes.
    private var isDone = false

    package init() {}

    package mutating func filter(_ bytes: ByteBuffer) -> ByteBuffer {
        if isDone { return releasing(bytes) }
        var cut: Range<Int>?
        do throws(AppError) {
            cut = try bytes.withUnsafeReadableBytes { chunk in
                Result { () throws(AppError) in try usageChunk(in: chunk) }
            }.get()
        } catch {
            isDone = true
            return releasing(bytes)
        }
        if let cut {
            isDone = true
            // An event that began in an earlier chunk is held whole; one that did not has nothing of it held.
            var output = cut.lowerBound == 0 ? ByteBuffer() : held
            held = ByteBuffer()
            if let head = bytes.getSlice(at: bytes.readerIndex, length: cut.lowerBound) { output.writeImmutableBuffer(head) }
            let tail = bytes.readableBytes - cut.upperBound
            if let rest = bytes.getSlice(at: bytes.readerIndex + cut.upperBound, length: tail) { output.writeImmutableBuffer(rest) }
            return output
        }
        let open = parser.bytesSinceBoundary
        if open < bytes.readableBytes { passes = false }
        if open > Self.longest { passes = true }
        if passes || open == 0 { return releasing(bytes) }
        if open >= bytes.readableBytes {
            // The whole chunk belongs to the event that is held.
            held.writeImmutableBuffer(bytes)
            return ByteBuffer()
        }
        let split = bytes.readableBytes - open
        let output = releasing(bytes.getSlice(at: bytes.readerIndex, length: split) ?? ByteBuffer())
        held = bytes.getSlice(at: bytes.readerIndex + split, length: open) ?? ByteBuffer()
        return output
    }

    /// What was held back when the stream ended.
    package mutating func finish() -> ByteBuffer {
        isDone = true
        return releasing(ByteBuffer())
    }

    private mutating func releasing(_ bytes: ByteBuffer) -> ByteBuffer {
        if held.readableBytes == 0 { return bytes }
        var output = held
        held = ByteBuffer()
        output.writeImmutableBuffer(bytes)
        return output
    }

    /// Where the usage chunk lies in the chunk; from 0 when it began in an earlier one.
    private mutating func usageChunk(in chunk: UnsafeRawBufferPointer) throws(AppError) -> Range<Int>? {
        var start = 0
        var position = 0
        while let piece = try parser.next(in: chunk, at: &position) {
            let isUsage =
                if let joined = piece.joined {
                    joined.withUnsafeBytes { Self.isUsageChunk($0) }
                } else {
                    Self.isUsageChunk(UnsafeRawBufferPointer(rebasing: chunk[piece.range]))
                }
            // Of an event that passes already nothing can be taken back.
            if isUsage, !(passes && start == 0) { return start..<position }
            start = position
        }
        return nil
    }

    /// `choices` is an empty array and `usage` an object.
    private static func isUsageChunk(_ data: UnsafeRawBufferPointer) -> Bool {
        var cursor = JSONCursor(data)
        var isEmpty = false
        var hasUsage = false
        do throws(JSONFailure) {
            guard cursor.peek() == UInt8(ascii: "{") else { return false }
            var walk = try cursor.enterObject()
            while let key = try cursor.nextKey(&walk) {
                if key.equals("choices"), cursor.peek() == UInt8(ascii: "[") {
                    var elements = try cursor.enterArray()
                    isEmpty = true
                    while try cursor.nextElement(&elements) {
                        isEmpty = false
                        try cursor.skipValue()
                    }
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
