import Core
import Foundation
import Glibc
import HTTPTransport

/// Writes messages to a collector over TCP or UDP, with one connection for a batch.
struct SyslogSender: Sendable {
    let host: String
    let port: UInt16
    let isTCP: Bool
    let allowsPrivateAddresses: Bool

    /// Returns when the kernel has them; over TCP, when the collector has acknowledged the end of the connection's bytes.
    ///
    /// - Throws: `upstream` errors that say what failed.
    func send(_ messages: [String]) async throws {
        // Blocking system calls, on a thread of their own: this happens once for many entries.
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            Thread.detachNewThread { continuation.resume(with: Result { try sendNow(messages) }) }
        }
    }

    private func sendNow(_ messages: [String]) throws {
        var hints = addrinfo()
        hints.ai_socktype = Int32(isTCP ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let first = found else {
            throw failure("the name \(host) is not known")
        }
        defer { freeaddrinfo(found) }
        var text = [CChar](repeating: 0, count: 64)
        getnameinfo(first.pointee.ai_addr, first.pointee.ai_addrlen, &text, 64, nil, 0, NI_NUMERICHOST)
        let address = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        if !allowsPrivateAddresses, let reason = AddressGuard.refusal(ofText: address) {
            throw AppError(
                .forbidden, "\(host) is at \(address) (\(reason)), which this sink may not reach; add it with --allow-private.",
                source: .server, retry: .never)
        }
        let descriptor = socket(first.pointee.ai_family, hints.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure("no socket") }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        guard connect(descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0 else { throw failure("no connection") }
        for message in messages { try write(isTCP ? SyslogMessage.framed(message) : message, to: descriptor) }
        if isTCP { try finish(descriptor) }
    }

    private func write(_ message: String, to descriptor: Int32) throws {
        var bytes = Array(message.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw failure("the connection broke") }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Says that nothing follows and waits for the collector to close: then it has read everything. A collector that keeps the connection
    /// open until the time is over is believed.
    private func finish(_ descriptor: Int32) throws {
        shutdown(descriptor, Int32(SHUT_WR))
        var rest = [UInt8](repeating: 0, count: 256)
        while true {
            let count = recv(descriptor, &rest, rest.count, 0)
            if count > 0 { continue }
            if count == 0 || errno == EAGAIN { return }
            throw failure("the connection broke")
        }
    }

    private func failure(_ what: String) -> AppError {
        AppError(
            .unavailable, "syslog at \(host):\(port): \(what) (\(String(cString: strerror(errno)))).", retry: .after(.seconds(1)))
    }
}
