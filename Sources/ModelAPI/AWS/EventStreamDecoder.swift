import Core
import NIOCore

/// Cuts a stream of bytes into Amazon's event-stream frames, wherever its chunks begin and end. Both checksums are checked, the
/// first before anything is kept for the frame; memory is bounded by `limit`.
package struct EventStreamDecoder: Sendable {
    /// Amazon allows 16 MiB of payload and 128 KiB of headers.
    package static let defaultLimit = 16 << 20 + 128 << 10 + 16

    let limit: Int
    private var bytes: [UInt8] = []
    /// The length of the frame under way, once its prelude was checked.
    private var length: Int?

    package init(limit: Int = EventStreamDecoder.defaultLimit) { self.limit = limit }

    /// Whether the last frame was complete: a stream that ends elsewhere was cut.
    package var isAtBoundary: Bool { bytes.isEmpty }

    /// The next frame of a chunk. Start with `position` 0 and call until nil, always with the same chunk.
    /// - Throws: `upstream` for a wrong checksum or length; the decoder is of no use afterwards.
    mutating func next(in chunk: UnsafeRawBufferPointer, at position: inout Int) throws(AppError) -> EventStreamFrame? {
        while true {
            let wanted = length ?? 12
            let taken = min(wanted - bytes.count, chunk.count - position)
            bytes.append(contentsOf: chunk[position..<position + taken])
            position += taken
            guard bytes.count == wanted else { return nil }
            guard length != nil else {
                length = try prelude()
                continue
            }
            let frame = try frame()
            bytes.removeAll(keepingCapacity: true)
            length = nil
            return frame
        }
    }

    /// Every frame that ends in the chunk.
    package mutating func feed(_ chunk: ByteBuffer) throws(AppError) -> [EventStreamFrame] {
        let result: Result<[EventStreamFrame], AppError> = chunk.withUnsafeReadableBytes { raw in
            var frames: [EventStreamFrame] = []
            var position = 0
            do throws(AppError) {
                while let frame = try next(in: raw, at: &position) { frames.append(frame) }
                return .success(frames)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func number(_ place: Int) -> UInt32 { bytes[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) } }

    private func prelude() throws(AppError) -> Int {
        guard CRC32.checksum(bytes[0..<8]) == number(8) else {
            throw Self.broken("the checksum of a frame's head is wrong")
        }
        let total = Int(number(0))
        let headers = Int(number(4))
        guard total >= 16, headers <= total - 16 else { throw Self.broken("a frame's lengths contradict each other") }
        guard total <= limit else { throw Self.broken("a frame has \(total) bytes, more than \(limit)") }
        return total
    }

    private func frame() throws(AppError) -> EventStreamFrame {
        let end = bytes.count - 4
        guard CRC32.checksum(bytes[0..<end]) == number(end) else { throw Self.broken("the checksum of a frame is wrong") }
        let headersEnd = 12 + Int(number(4))
        return EventStreamFrame(headers: try headers(bytes[12..<headersEnd]), payload: Array(bytes[headersEnd..<end]))
    }

    private func headers(_ area: ArraySlice<UInt8>) throws(AppError) -> [(name: String, value: String)] {
        var rest = area
        var headers: [(name: String, value: String)] = []
        func take(_ count: Int) throws(AppError) -> ArraySlice<UInt8> {
            guard rest.count >= count else { throw Self.broken("a frame's headers are cut") }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }
        while !rest.isEmpty {
            let name = try take(Int(try take(1).first ?? 0))
            let kind = try take(1).first ?? 0
            switch kind {
            case 0, 1: break
            case 2: _ = try take(1)
            case 3: _ = try take(2)
            case 4: _ = try take(4)
            case 5, 8: _ = try take(8)
            case 6, EventStreamFrame.text:
                let value = try take(try take(2).reduce(0) { $0 << 8 | Int($1) })
                if kind == EventStreamFrame.text {
                    headers.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
                }
            case 9: _ = try take(16)
            default: throw Self.broken("a frame has a header of the unknown kind \(kind)")
            }
        }
        return headers
    }

    private static func broken(_ what: String) -> AppError {
        AppError(.upstream, "The provider's event stream is damaged: \(what).")
    }
}
