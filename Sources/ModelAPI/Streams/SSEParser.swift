import Core
import Glibc
import NIOCore

/// One server-sent event with data.
package struct SSEEvent: Sendable, Equatable {
    /// The `event:` field; nil when there was none.
    package var name: String?
    package var data: String
}

/// Cuts a stream of bytes into server-sent events, wherever its chunks begin and end.
///
/// Lines end in LF, CR or CRLF; a byte order mark at the start, comments and unknown fields are skipped; several `data` lines are
/// joined by LF. An event that lies within one chunk is handed out as a range of it, without a copy. Memory is bounded by `limit`.
package struct SSEParser: Sendable {
    /// The most bytes an event may have: a line, or all its data.
    package static let defaultLimit = 16 << 20

    let limit: Int
    /// The line that the last chunk cut off.
    private var line: [UInt8] = []
    /// Data of the event under way that no longer lies in the present chunk, or has several lines.
    private var data: [UInt8] = []
    private var dataRange: Range<Int>?
    private var hasData = false
    private var name: String?
    private let keepsNames: Bool
    private var skipsLineFeed = false
    private var isAtStart = true
    /// Where the next LF and CR of the present chunk are: looked up once each, so that no mixture makes the search quadratic.
    private var nextLineFeed = -1
    private var nextReturn = -1

    /// Bytes taken in since the end of the last event. Zero: something may be put between the events here, or the stream may be cut.
    package private(set) var bytesSinceBoundary = 0

    package init(limit: Int = SSEParser.defaultLimit) { self.init(limit: limit, keepsNames: true) }

    init(limit: Int, keepsNames: Bool) {
        self.limit = limit
        self.keepsNames = keepsNames
    }

    /// - Throws: `upstream` when an event is longer than the limit; the parser is of no use afterwards.
    package mutating func feed(_ bytes: ByteBuffer) throws -> [SSEEvent] {
        try bytes.withUnsafeReadableBytes { chunk in
            var events: [SSEEvent] = []
            var position = 0
            while let piece = try next(in: chunk, at: &position) {
                events.append(SSEEvent(name: piece.name, data: String(decoding: piece.data(in: chunk), as: UTF8.self)))
            }
            return events
        }
    }

    /// The event that the stream ended in without its blank line. The standard drops it; some servers end so after `[DONE]`.
    package mutating func finish() -> SSEEvent? {
        guard let piece = lastPiece() else { return nil }
        return SSEEvent(name: piece.name, data: String(decoding: piece.joined ?? [], as: UTF8.self))
    }
}

extension SSEParser {
    /// An event's data: a range of the present chunk, or bytes put together from several.
    struct Piece {
        var name: String?
        var range: Range<Int>
        var joined: [UInt8]?

        func data(in chunk: UnsafeRawBufferPointer) -> [UInt8] { joined ?? Array(chunk[range]) }
    }

    /// The next event that ends in the chunk. Start with `position` 0 and call until nil, always with the same chunk.
    mutating func next(in chunk: UnsafeRawBufferPointer, at position: inout Int) throws(AppError) -> Piece? {
        guard let base = chunk.baseAddress else { return nil }
        if position == 0 {
            nextLineFeed = -1
            nextReturn = -1
            if skipsLineFeed, chunk.count > 0 {
                skipsLineFeed = false
                if chunk[0] == 0x0A { position = 1 }
            }
        }
        while position < chunk.count {
            let start = position
            let lineEnd = endOfLine(base, from: position, count: chunk.count)
            guard lineEnd < chunk.count else { break }
            position = lineEnd &+ 1
            if chunk[lineEnd] == 0x0D {
                if position == chunk.count { skipsLineFeed = true } else if chunk[position] == 0x0A { position &+= 1 }
            }
            bytesSinceBoundary &+= position &- start
            if line.isEmpty {
                if lineEnd == start {
                    bytesSinceBoundary = 0
                    if let piece = takePiece() { return piece }
                } else {
                    try take(line: UnsafeRawBufferPointer(start: base + start, count: lineEnd &- start), at: start, in: chunk)
                }
            } else {
                try checkLimit(line.count &+ lineEnd &- start)
                line.append(contentsOf: chunk[start..<lineEnd])
                let whole = line
                line = []
                try whole.withUnsafeBufferPointer { bytes throws(AppError) in
                    try take(line: UnsafeRawBufferPointer(bytes), at: nil, in: chunk)
                }
            }
        }
        // The chunk ends here: what is not finished has to be kept.
        let rest = chunk.count &- position
        if rest > 0 {
            bytesSinceBoundary &+= rest
            try checkLimit(line.count &+ rest &+ data.count)
            line.append(contentsOf: chunk[position...])
            position = chunk.count
        }
        if let range = dataRange {
            data.append(contentsOf: chunk[range])
            dataRange = nil
        }
        return nil
    }

    mutating func lastPiece() -> Piece? {
        if !line.isEmpty {
            let whole = line
            line = []
            // Within the limit already, so nothing is thrown.
            try? whole.withUnsafeBufferPointer { bytes throws(AppError) in
                try take(line: UnsafeRawBufferPointer(bytes), at: nil, in: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
        return takePiece()
    }

    private mutating func takePiece() -> Piece? {
        defer {
            name = nil
            hasData = false
        }
        guard hasData else { return nil }
        if let range = dataRange {
            dataRange = nil
            return Piece(name: name, range: range, joined: nil)
        }
        let joined = data
        data = []
        return Piece(name: name, range: 0..<0, joined: joined)
    }

    /// - Parameter at: where the line lies in the chunk; nil when it was put together.
    private mutating func take(line whole: UnsafeRawBufferPointer, at start: Int?, in chunk: UnsafeRawBufferPointer)
        throws(AppError)
    {
        var skipped = 0
        if isAtStart {
            isAtStart = false
            if whole.count >= 3, whole[0] == 0xEF, whole[1] == 0xBB, whole[2] == 0xBF { skipped = 3 }
        }
        let line = UnsafeRawBufferPointer(rebasing: whole[skipped...])
        if let value = Self.value(of: "data", in: line) {
            if hasData {
                // A further line of data: from here on the event is put together.
                if let range = dataRange {
                    data.append(contentsOf: chunk[range])
                    dataRange = nil
                }
                data.append(0x0A)
                try checkLimit(data.count &+ value.count)
                data.append(contentsOf: line[value])
            } else if let start {
                dataRange = start &+ skipped &+ value.lowerBound..<start &+ skipped &+ value.upperBound
            } else {
                data.append(contentsOf: line[value])
            }
            hasData = true
        } else if keepsNames, let value = Self.value(of: "event", in: line) {
            name = String(decoding: line[value], as: UTF8.self)
        }
    }

    /// The range of a field's value in a line, without the one space behind the colon; nil for another field or a comment.
    private static func value(of field: StaticString, in line: UnsafeRawBufferPointer) -> Range<Int>? {
        let count = field.utf8CodeUnitCount
        guard line.count >= count, let base = line.baseAddress, memcmp(base, field.utf8Start, count) == 0 else { return nil }
        if line.count == count { return count..<count }
        guard line[count] == UInt8(ascii: ":") else { return nil }
        let start = count &+ 1
        return (start < line.count && line[start] == 0x20 ? start &+ 1 : start)..<line.count
    }

    private mutating func endOfLine(_ base: UnsafeRawPointer, from position: Int, count: Int) -> Int {
        if nextLineFeed < position {
            nextLineFeed = memchr(base + position, 0x0A, count &- position).map { UnsafeRawPointer($0) - base } ?? count
        }
        if nextReturn < position {
            nextReturn = memchr(base + position, 0x0D, count &- position).map { UnsafeRawPointer($0) - base } ?? count
        }
        return min(nextLineFeed, nextReturn)
    }

    private func checkLimit(_ count: Int) throws(AppError) {
        if count > limit {
            throw AppError(.upstream, "An event of the answer stream is longer than \(limit) bytes; Slipway reads no longer ones.")
        }
    }
}
