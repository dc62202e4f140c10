import AgentProtocol
import Glibc
import NIOCore

/// What agent and file worker say to each other over a stream socket: u32 length (little-endian) · u8 kind · payload.
///
/// One request at a time. The worker runs as the workload, so nothing it says is believed beyond its form.
struct WorkerFrame: Sendable {
    enum Kind: UInt8, Sendable {
        /// JSON `WorkerRequest`.
        case request = 1
        case data
        /// No more data.
        case end
        /// Put the prepared file in place.
        case commit
        /// Is the file in place the same as the prepared one? Answered with a result or a failure.
        case compare
        /// JSON, by request.
        case result
        /// JSON `AgentFailure`.
        case failure
    }

    static let mostPayload = 8 << 20
    static let chunk = 1 << 18

    var kind: Kind
    var payload: ByteBuffer
}

struct WorkerRequest: Codable, Sendable {
    enum Operation: String, Codable, Sendable { case read, write, list, search }

    var operation: Operation
    var path: String
    var offset: Int64?
    var limit: Int64?
    var depth: Int?
    var search: SearchQuery?
}

/// Blocking frames on one socket.
struct WorkerSocket: Sendable {
    enum Failure: Error { case closed, timedOut, malformed, system(SystemError) }

    let descriptor: Int32

    func send(_ kind: WorkerFrame.Kind, _ payload: ByteBuffer = ByteBuffer()) throws {
        var frame = ByteBuffer()
        frame.reserveCapacity(payload.readableBytes + 5)
        frame.writeInteger(UInt32(payload.readableBytes), endianness: .little)
        frame.writeInteger(kind.rawValue)
        frame.writeImmutableBuffer(payload)
        try frame.withUnsafeReadableBytes { try writeOut($0) }
    }

    func send(_ kind: WorkerFrame.Kind, json value: some Encodable) throws { try send(kind, WireJSON.encode(value)) }

    /// - Throws: `closed` at the end of the stream, `timedOut` after the socket's own patience.
    func receive() throws -> WorkerFrame {
        var header = try read(5)
        guard let length = header.readInteger(endianness: .little, as: UInt32.self), length <= WorkerFrame.mostPayload,
            let kind = header.readInteger(as: UInt8.self).flatMap(WorkerFrame.Kind.init)
        else { throw Failure.malformed }
        return WorkerFrame(kind: kind, payload: try read(Int(length)))
    }

    func setPatience(seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private func read(_ count: Int) throws -> ByteBuffer {
        var bytes = ByteBuffer()
        if count == 0 { return bytes }
        try bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            var done = 0
            while done < count {
                let got = recv(descriptor, target.baseAddress! + done, count - done, 0)
                if got < 0 && errno == EINTR { continue }
                if got == 0 { throw Failure.closed }
                guard got > 0 else { throw Self.failure(errno) }
                done += got
            }
            return count
        }
        return bytes
    }

    private func writeOut(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while let base = rest.baseAddress, rest.count > 0 {
            let count = Glibc.send(descriptor, base, rest.count, Int32(MSG_NOSIGNAL))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(errno) }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }

    private static func failure(_ number: Int32) -> Failure {
        switch number {
        case EAGAIN: .timedOut
        case EPIPE, ECONNRESET: .closed
        default: .system(SystemError(number))
        }
    }
}
