import NIOCore

/// Releases a stream in whole events, so that it can be ended properly at any moment. The bytes stay the same, only their borders move.
struct EventAligner: Sendable {
    /// An event longer than this passes as it comes.
    static let longest = 64 << 10

    private var held = ByteBuffer()
    /// Part of an event was released whose end has not come.
    private(set) var isInsideEvent = false

    /// - Parameter open: how many of the bytes so far belong to an event that is not complete.
    mutating func align(_ chunk: ByteBuffer, open: Int) -> ByteBuffer {
        if open == 0 {
            isInsideEvent = false
            return takeHeld(chunk)
        }
        if open < chunk.readableBytes { isInsideEvent = false }
        if isInsideEvent || open > Self.longest {
            isInsideEvent = true
            return takeHeld(chunk)
        }
        if open >= chunk.readableBytes {
            held.writeImmutableBuffer(chunk)
            return ByteBuffer()
        }
        let whole = chunk.readableBytes - open
        let released = takeHeld(chunk.getSlice(at: chunk.readerIndex, length: whole) ?? ByteBuffer())
        held = chunk.getSlice(at: chunk.readerIndex + whole, length: open) ?? ByteBuffer()
        return released
    }

    /// What is held when the stream ends as it should.
    mutating func rest() -> ByteBuffer { takeHeld(ByteBuffer()) }

    private mutating func takeHeld(_ chunk: ByteBuffer) -> ByteBuffer {
        if held.readableBytes == 0 { return chunk }
        var whole = held
        held = ByteBuffer()
        whole.writeImmutableBuffer(chunk)
        return whole
    }
}
