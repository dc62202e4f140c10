import Foundation

/// When the pieces of a stream came: marks of (time, bytes so far), of which a stream of any length has few. A pure rule.
///
/// It stays below `largest` bytes: whenever it would grow beyond, every second mark goes, and from then on half as many are made. What
/// lies between two marks is taken to have come evenly.
struct ChunkTimes: Sendable, Equatable {
    /// So many bytes had come by then.
    struct Mark: Sendable, Equatable {
        /// Since the call came in.
        var at: Duration
        var bytes: Int
    }

    /// What the marks take in memory, and encoded but for a few bytes.
    static let largest = 384

    private let began: ContinuousClock.Instant
    /// Pairs of varints: milliseconds and bytes since the mark before. Empty until the first chunk comes.
    private var marks: [UInt8] = []
    /// Every so many chunks make a mark.
    private var stride = 1
    private var sinceMark = 0
    private var marked = Point()
    private var last = Point()

    private struct Point: Sendable, Equatable {
        var milliseconds: UInt64 = 0
        var bytes: UInt64 = 0
    }

    init(since began: ContinuousClock.Instant) { self.began = began }

    mutating func came(_ count: Int, at now: ContinuousClock.Instant = .now) {
        // Clocks of this kind do not go back; a negative time would still be no reason to crash.
        last.milliseconds = max(last.milliseconds, UInt64(max(0, began.duration(to: now) / .milliseconds(1))))
        last.bytes += UInt64(count)
        sinceMark += 1
        if sinceMark >= stride { mark() }
    }

    private mutating func mark() {
        Self.append(last, after: marked, to: &marks)
        marked = last
        sinceMark = 0
        if marks.count > Self.largest { thin() }
    }

    private mutating func thin() {
        let points = Self.points(marks[...])
        stride *= 2
        marks = []
        marked = Point()
        for (index, point) in points.enumerated() where index % 2 == 1 {
            Self.append(point, after: marked, to: &marks)
            marked = point
        }
        sinceMark = points.count % 2 == 0 ? 0 : stride / 2
    }

    /// As it is stored: the stride, then the marks; nil when nothing came.
    var encoded: Data? {
        guard last.bytes > 0 else { return nil }
        var bytes: [UInt8] = []
        Self.append(UInt64(stride), to: &bytes)
        bytes += marks
        if marked != last { Self.append(last, after: marked, to: &bytes) }
        return Data(bytes)
    }

    /// - Returns: nil for what is not such a thing. `isExact`: every chunk has its mark.
    static func decode(_ data: Data) -> (marks: [Mark], isExact: Bool)? {
        var rest = Array(data)[...]
        guard data.count <= 2 * largest, let stride = varint(&rest), stride > 0 else { return nil }
        let points = points(rest)
        if points.isEmpty { return nil }
        return (points.map { Mark(at: .milliseconds(Int64($0.milliseconds)), bytes: Int($0.bytes)) }, stride == 1)
    }

    // MARK: Numbers of a few bytes

    /// Two years and a terabyte: stored numbers beyond these are no times and sizes, and could overflow what is calculated with them.
    private static let highest = Point(milliseconds: 1 << 36, bytes: 1 << 40)

    private static func append(_ point: Point, after before: Point, to bytes: inout [UInt8]) {
        append(point.milliseconds - before.milliseconds, to: &bytes)
        append(point.bytes - before.bytes, to: &bytes)
    }

    private static func append(_ number: UInt64, to bytes: inout [UInt8]) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Up to the first that cannot be read.
    private static func points(_ bytes: ArraySlice<UInt8>) -> [Point] {
        var rest = bytes
        var points: [Point] = []
        var point = Point()
        while let milliseconds = varint(&rest), let count = varint(&rest) {
            point.milliseconds += milliseconds
            point.bytes += count
            guard point.milliseconds <= highest.milliseconds, point.bytes <= highest.bytes else { break }
            points.append(point)
        }
        return points
    }

    private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for shift in Swift.stride(from: 0, to: 49, by: 7) {
            guard let byte = bytes.popFirst() else { return nil }
            number |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte & 0x80 == 0 { return number }
        }
        return nil
    }
}
