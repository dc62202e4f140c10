import Core
import NIOCore

/// Cuts a stream into its events as they were written, blank line included; what stands between two of them goes with the second.
package struct EventSplitter: Sendable {
    package struct Event: Sendable {
        package var bytes: ByteBuffer
        /// Where its data lies in the bytes; nil when there is none, or when it has several lines.
        package var data: Range<Int>?
        /// Data of several lines, put together.
        package var joined: [UInt8]?
    }

    private var parser = SSEParser(limit: SSEParser.defaultLimit, keepsNames: false)
    private var held = ByteBuffer()

    package init() {}

    /// The events that end in the chunk.
    ///
    /// - Throws: `upstream` when an event is longer than can be read.
    package mutating func split(_ chunk: ByteBuffer) throws(AppError) -> [Event] {
        var ends: [Int] = []
        let result: Result<[Int], AppError> = chunk.withUnsafeReadableBytes { bytes in
            var found: [Int] = []
            var position = 0
            do throws(AppError) {
                while try parser.next(in: bytes, at: &position) != nil { found.append(position) }
                return .success(found)
            } catch {
                return .failure(error)
            }
        }
        ends = try result.get()
        var events: [Event] = []
        var start = 0
        for end in ends {
            var bytes = held
            held = ByteBuffer()
            if let piece = chunk.getSlice(at: chunk.readerIndex + start, length: end - start) { bytes.writeImmutableBuffer(piece) }
            start = end
            events.append(Self.event(bytes))
        }
        if let rest = chunk.getSlice(at: chunk.readerIndex + start, length: chunk.readableBytes - start) {
            held.writeImmutableBuffer(rest)
        }
        return events
    }

    /// Nothing of an event is held.
    var isBetweenEvents: Bool { held.readableBytes == 0 }

    /// What no blank line ended.
    package mutating func rest() -> Event? {
        let bytes = held
        held = ByteBuffer()
        return bytes.readableBytes > 0 ? Self.event(bytes) : nil
    }

    private static func event(_ bytes: ByteBuffer) -> Event {
        // The same bytes once more, as one chunk: a line of data then is a range of them.
        bytes.withUnsafeReadableBytes { raw in
            var parser = SSEParser(limit: .max / 2, keepsNames: false)
            var position = 0
            if let piece = try? parser.next(in: raw, at: &position) {
                return Event(bytes: bytes, data: piece.joined == nil ? piece.range : nil, joined: piece.joined)
            }
            return Event(bytes: bytes, data: nil, joined: parser.lastPiece()?.joined)
        }
    }
}
