import Foundation
import ModelAPI
import NIOCore

/// When which piece of a recorded answer is given out. A pure rule.
struct ReplayPacing: Sendable, Equatable {
    struct Piece: Sendable, Equatable {
        /// Since the request.
        var at: Duration
        var bytes: ByteBuffer
    }

    var pieces: [Piece] = []

    /// A stream comes event by event: the first at the recorded time of the first byte, the last at the end, the others evenly between;
    /// without that time the first comes as long after the request as the others after each other. Any other answer comes whole, at the
    /// end.
    ///
    /// - Parameter speed: all times are divided by it; 0 makes them all zero.
    init(_ body: ByteBuffer, isStream: Bool, firstByte: Duration?, total: Duration, speed: Double) {
        func scaled(_ time: Duration) -> Duration { speed > 0 ? time / speed : .zero }
        guard isStream else {
            pieces = [Piece(at: scaled(total), bytes: body)]
            return
        }
        let events = Self.events(body)
        let first = firstByte.map { min($0, total) } ?? total / max(1, events.count)
        for (index, event) in events.enumerated() {
            pieces.append(Piece(at: scaled(first + (total - first) * index / max(1, events.count - 1)), bytes: event))
        }
    }

    /// Cut behind blank lines.
    static func events(_ body: ByteBuffer) -> [ByteBuffer] {
        var events: [ByteBuffer] = []
        var start = body.readerIndex
        let view = body.readableBytesView
        var lineIsEmpty = false
        for index in view.indices {
            switch view[index] {
            case UInt8(ascii: "\n"):
                if lineIsEmpty, let event = body.getSlice(at: start, length: index + 1 - start) {
                    events.append(event)
                    start = index + 1
                    lineIsEmpty = false
                } else {
                    lineIsEmpty = true
                }
            case UInt8(ascii: "\r"): break
            default: lineIsEmpty = false
            }
        }
        if start < view.endIndex, let rest = body.getSlice(at: start, length: view.endIndex - start) { events.append(rest) }
        return events
    }
}
