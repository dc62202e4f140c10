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

    /// A stream comes event by event. Where it is on record when its bytes came, each event comes when its last byte did; between two marks
    /// of a long stream evenly by bytes. Else the first comes at the recorded time of its first content, the last at the end, the others
    /// evenly between; without that time the first comes as long after the request as the others after each other. Any other answer
    /// comes whole, at the end.
    ///
    /// - Parameters:
    ///   - speed: all times are divided by it; 0 makes them all zero.
    ///   - timing: as `ChunkTimes` encodes it; what is none is as if it were not there.
    init(_ body: ByteBuffer, isStream: Bool, firstByte: Duration?, total: Duration, speed: Double, timing: Data? = nil) {
        func scaled(_ time: Duration) -> Duration { speed > 0 ? time / speed : .zero }
        guard isStream else {
            pieces = [Piece(at: scaled(total), bytes: body)]
            return
        }
        let events = Self.events(body)
        if let (marks, isExact) = timing.flatMap({ ChunkTimes.decode($0) }) {
            var bytes = 0
            var place = 0
            for event in events {
                bytes += event.readableBytes
                while place + 1 < marks.count, marks[place].bytes < bytes { place += 1 }
                let before = place > 0 ? marks[place - 1] : .init(at: .zero, bytes: 0)
                pieces.append(Piece(at: scaled(Self.time(of: bytes, before, marks[place], isExact || place == 0)), bytes: event))
            }
            return
        }
        let first = firstByte.map { min($0, total) } ?? total / max(1, events.count)
        for (index, event) in events.enumerated() {
            pieces.append(Piece(at: scaled(first + (total - first) * index / max(1, events.count - 1)), bytes: event))
        }
    }

    private static func time(of bytes: Int, _ before: ChunkTimes.Mark, _ mark: ChunkTimes.Mark, _ isExact: Bool) -> Duration {
        let span = mark.bytes - before.bytes
        if isExact || span <= 0 { return mark.at }
        return before.at + (mark.at - before.at) * min(bytes - before.bytes, span) / span
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
