import FoundationEssentials
import Glibc

/// A command's output as the zone leaves it: nothing if it wrote nothing, else 4096 bytes of header, then a ring in which byte i of the
/// output is at i % capacity.
///
/// The zone writes the bytes first and the total after, at most 64 KiB at a time; a reader takes the total before and after
/// and drops what may have been overwritten meanwhile.
enum RingFile {
    static let capacity = 16 << 20
    private static let headerSize = 4096
    private static let step: Int64 = 1 << 16

    struct Piece: Equatable {
        var data: Data
        /// Position of the first byte of `data`.
        var start: Int64
        var total: Int64
        var isFinal: Bool
    }

    enum Failure: Error { case notARing, system(SystemError) }

    /// Reads at most `limit` bytes from a position counted from the beginning (`cursor`) or from the end (`tail`).
    static func read(_ path: String, cursor: Int64?, tail: Int64? = nil, limit: Int) throws -> Piece {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure.system(.last) }
        defer { close(descriptor) }
        let before = try Header(descriptor)
        let oldest = max(0, before.total - before.capacity)
        let wanted = cursor ?? before.total - min(tail ?? 0, before.total)
        let start = min(max(wanted, oldest), before.total)
        let count = Int(min(Int64(limit), before.total - start))
        var bytes = Data(count: count)
        try bytes.withUnsafeMutableBytes { try readRing(descriptor, before.capacity, start, $0) }

        let after = try Header(descriptor)
        // What the zone may be writing right now lies up to one step beyond its total.
        let valid = max(start, after.isFinal ? after.total - after.capacity : after.total + step - after.capacity)
        let dropped = Int(min(max(0, valid - start), Int64(count)))
        return Piece(
            data: Data(bytes.dropFirst(dropped)), start: start + Int64(dropped), total: after.total, isFinal: after.isFinal)
    }

    private static func readRing(_ descriptor: Int32, _ capacity: Int64, _ start: Int64, _ target: UnsafeMutableRawBufferPointer)
        throws
    {
        var done = 0
        while done < target.count {
            let place = (start + Int64(done)) % capacity
            let count = min(target.count - done, Int(capacity - place))
            let got = pread(descriptor, target.baseAddress! + done, count, off_t(Int64(headerSize) + place))
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw Failure.system(.last) }
            guard got > 0 else { throw Failure.notARing }
            done += got
        }
    }

    private struct Header {
        var capacity: Int64
        var total: Int64
        var isFinal: Bool

        init(_ descriptor: Int32) throws {
            var bytes = [UInt8](repeating: 0, count: 40)
            guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count, bytes.starts(with: "SLIPRING".utf8) else {
                throw Failure.notARing
            }
            func integer<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type) -> T {
                bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
            }
            capacity = integer(16, Int64.self)
            total = integer(24, Int64.self)
            isFinal = integer(12, UInt32.self) != 0
            guard capacity > 0, total >= 0 else { throw Failure.notARing }
        }
    }
}
