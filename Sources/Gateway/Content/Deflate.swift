import CZlib
import Core
import Foundation
import NIOCore

/// zlib, with the length of the plain bytes before it (four bytes, big endian).
enum Deflate {
    /// Nil when it would not be smaller.
    static func deflate(_ plain: ByteBuffer) -> Data? {
        guard plain.readableBytes > 256, plain.readableBytes <= Int32.max else { return nil }
        return plain.withUnsafeReadableBytes { source -> Data? in
            var length = compressBound(uLong(source.count))
            var packed = Data(count: 4 + Int(length))
            let status = packed.withUnsafeMutableBytes { target -> Int32 in
                target.storeBytes(of: UInt32(source.count).bigEndian, as: UInt32.self)
                return compress2(
                    target.baseAddress!.advanced(by: 4).assumingMemoryBound(to: UInt8.self), &length,
                    source.baseAddress!.assumingMemoryBound(to: UInt8.self), uLong(source.count), 1)
            }
            guard status == Z_OK, Int(length) + 4 < source.count else { return nil }
            return packed.prefix(4 + Int(length))
        }
    }

    /// - Throws: `internal` when the bytes are no such thing.
    static func inflate(_ packed: Data) throws -> Data {
        guard packed.count > 4 else { throw AppError(.internal, "A stored chunk is too short.") }
        let size = packed.withUnsafeBytes { UInt32(bigEndian: $0.loadUnaligned(as: UInt32.self)) }
        guard size <= 64 << 20 else { throw AppError(.internal, "A stored chunk claims to be \(size) bytes long.") }
        var length = uLong(size)
        var plain = Data(count: Int(size))
        let status = plain.withUnsafeMutableBytes { target in
            packed.withUnsafeBytes { source in
                uncompress(
                    target.baseAddress?.assumingMemoryBound(to: UInt8.self), &length,
                    source.baseAddress!.advanced(by: 4).assumingMemoryBound(to: UInt8.self), uLong(source.count - 4))
            }
        }
        guard status == Z_OK, length == size else { throw AppError(.internal, "A stored chunk does not unpack.") }
        return plain
    }
}
