import Core
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// JSON values over a stream socket: each is a frame of a big-endian 32-bit length (at most 1 MiB) and that many bytes.
final class FrameSocket: Sendable {
    static let largest = 1 << 20

    private let descriptor: Int32
    private let isOpen = NIOLockedValueBox(true)

    /// Takes the descriptor over.
    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { Glibc.close(descriptor) }

    /// Wakes the reader with the end of the stream.
    func close() {
        isOpen.withLockedValue { isOpen in
            if isOpen { shutdown(descriptor, Int32(SHUT_RDWR)) }
            isOpen = false
        }
    }

    /// - Throws: `unavailable` when the other side is gone, `tooLarge` past the bound.
    func send(_ value: some Encodable) throws {
        let body = try JSONEncoder().encode(value)
        guard body.count <= Self.largest else { throw AppError(.tooLarge, "A provisioner message has \(body.count) bytes.") }
        var frame = withUnsafeBytes(of: UInt32(body.count).bigEndian) { Data($0) }
        frame.append(body)
        let sent = isOpen.withLockedValue { isOpen in
            isOpen && frame.withUnsafeBytes { writeAll($0) }
        }
        if !sent { throw AppError(.unavailable, "The other end of the provisioner's socket is gone.", retry: .now) }
    }

    private func writeAll(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
        return true
    }

    /// Values in the order they come, read by a thread of its own until the connection ends or a frame is none.
    func listen<Value: Decodable & SendableMetatype>(
        for _: Value.Type, onValue: @escaping @Sendable (Value) -> Void, onEnd: @escaping @Sendable () -> Void
    ) {
        Thread.detachNewThread { [self] in
            while let body = readFrame(), let value = try? JSONDecoder().decode(Value.self, from: body) { onValue(value) }
            close()
            onEnd()
        }
    }

    func values<Value: Decodable & Sendable>(_: Value.Type) -> AsyncStream<Value> {
        let (stream, continuation) = AsyncStream<Value>.makeStream()
        listen(for: Value.self, onValue: { continuation.yield($0) }, onEnd: { continuation.finish() })
        return stream
    }

    private func readFrame() -> Data? {
        guard let head = read(4) else { return nil }
        let size = head.reduce(0) { $0 << 8 | Int($1) }
        return size <= Self.largest ? read(size) : nil
    }

    private func read(_ size: Int) -> Data? {
        var data = Data(count: size), filled = 0
        while filled < size {
            let count = data.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + filled, size - filled, 0) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            filled += count
        }
        return data
    }
}
