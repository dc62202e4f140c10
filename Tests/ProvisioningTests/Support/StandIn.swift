import Core
import Foundation
import Glibc

@testable import Provisioning

/// The server's end of the stand-in agent's connection: messages to and from the zone, as they are on its wire.
final class StandIn: @unchecked Sendable {
    // One test uses one value, one call at a time.
    private let descriptor: Int32
    /// `uid`, `pid`, `sandbox`, `workspace`, `start`, `token`.
    let hello: [String: String]

    struct Status: Equatable {
        var state: UInt32, code: UInt32, outputOpen: Bool, total: UInt64
        var exited: Int? { state == 2 ? Int(code) : nil }
        var killedBy: Int? { state == 3 ? Int(code) : nil }
    }
    struct Finished { var status: Status, output: String }
    struct Started: Equatable { var error: Int32, pid: Int32, already: Bool, stage: UInt32 }

    fileprivate init(descriptor: Int32) throws {
        self.descriptor = descriptor
        let text = String(decoding: try Self.receive(descriptor), as: UTF8.self)
        var hello: [String: String] = [:]
        for pair in text.split(separator: " ").dropFirst() {
            let parts = pair.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { hello[String(parts[0])] = String(parts[1]) }
        }
        self.hello = hello
    }

    deinit { Glibc.close(descriptor) }

    /// As when the server's process ends.
    func close() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    // MARK: Messages

    static func receive(_ descriptor: Int32) throws -> [UInt8] {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, 90_000) == 1 else { throw AppError(.timeout, "The stand-in agent says nothing.") }
        var buffer = [UInt8](repeating: 0, count: 140_000)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { throw AppError(.unavailable, "The stand-in agent is gone.") }
        return Array(buffer[..<count])
    }

    func send(_ kind: UInt32, id: String, _ payload: [UInt8] = []) throws {
        let message = kind.bytes + UInt32(7).bytes + Array(id.utf8) + [UInt8](repeating: 0, count: 40 - id.utf8.count) + payload
        guard Glibc.send(descriptor, message, message.count, Int32(MSG_NOSIGNAL)) == message.count else {
            throw AppError(.unavailable, "The stand-in agent is gone.")
        }
    }

    func receive() throws -> (kind: UInt32, id: String, payload: [UInt8]) {
        let message = try Self.receive(descriptor)
        return (message.integer(0), String(decoding: message[8..<48].prefix { $0 != 0 }, as: UTF8.self), Array(message[48...]))
    }

    /// Sends a request and waits for its reply, past events.
    func ask(_ kind: UInt32, id: String, _ payload: [UInt8] = []) throws -> (kind: UInt32, payload: [UInt8]) {
        try send(kind, id: id, payload)
        while true {
            let message = try receive()
            if message.kind < 0x200 || message.kind == 0x7000 { return (message.kind, message.payload) }
        }
    }

    // MARK: Commands

    static func newID() -> String { String(UUID().uuidString.prefix(8)) }

    func start(
        _ arguments: [String], id: String, flags: UInt32 = 1, directory: String = "/home/work", environment: [String] = [],
        capacity: UInt32 = 1 << 20
    ) throws -> Started {
        var payload =
            flags.bytes + UInt32(arguments.count).bytes + UInt32(environment.count).bytes + capacity.bytes + UInt32(0).bytes
        for text in [directory] + arguments + environment { payload += Array(text.utf8) + [0] }
        let reply = try ask(2, id: id, payload).payload
        return Started(
            error: Int32(bitPattern: reply.integer(0)), pid: Int32(bitPattern: reply.integer(4)),
            already: reply.integer(8) as UInt32 == 1,
            stage: reply.integer(12))
    }

    func status(_ id: String) throws -> Status { Status(try ask(4, id: id).payload) }

    /// The ring file's header and the bytes it holds, as far as 60 KB.
    func ring(_ id: String) throws -> (final: Bool, capacity: UInt64, total: UInt64, bytes: [UInt8]) {
        let head = try ask(0x7000, id: id, UInt64(0).bytes).payload
        // A command that wrote nothing leaves its file empty.
        if head.isEmpty { return (true, 0, 0, []) }
        return (head.integer(12) as UInt32 == 1, head.integer(16), head.integer(24), Array(head.dropFirst(4096)))
    }

    func waitForEnd(_ id: String) throws -> Status {
        var status = try self.status(id)
        while status.state == 1 || status.outputOpen {
            let message = try receive()
            if message.kind == 0x201, message.id == id { status = Status(message.payload) }
        }
        return status
    }

    /// Runs to the end of the command and of its output, which is cut at 60 KB.
    func run(_ arguments: [String]) throws -> Finished {
        let id = Self.newID()
        let started = try start(arguments, id: id)
        guard started.error == 0 else { throw AppError(.internal, "start: \(started)") }
        let status = try waitForEnd(id)
        let ring = try ring(id)
        _ = try ask(6, id: id)
        return Finished(status: status, output: String(decoding: ring.bytes.prefix(Int(ring.total)), as: UTF8.self))
    }

    func shell(_ line: String) throws -> Finished { try run(["/bin/bash", "-c", line]) }
}

extension StandIn.Status {
    fileprivate init(_ payload: [UInt8]) {
        self.init(
            state: payload.integer(0), code: payload.integer(4), outputOpen: payload.integer(12) as UInt32 == 1,
            total: payload.integer(32))
    }
}

/// A server's socket in the directory that sandboxes see.
final class StandInServer: Sendable {
    private let descriptor: Int32
    let path: String

    init(_ configuration: SandboxConfiguration, name: String = "server") throws {
        path = "\(configuration.socketDirectory)/\(name).sock"
        descriptor = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard bound == 0, chmod(path, 0o666) == 0, listen(descriptor, 16) == 0 else {
            throw AppError(.internal, "bind \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// As a server that was killed: its connections end, and nobody answers at its path.
    func close() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        Glibc.close(descriptor)
        unlink(path)
    }

    func accept() throws -> StandIn {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, 20_000) == 1 else { throw AppError(.timeout, "No agent connects.") }
        return try StandIn(descriptor: Glibc.accept(descriptor, nil, nil))
    }
}

extension FixedWidthInteger {
    var bytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}

extension [UInt8] {
    func integer<T: FixedWidthInteger>(_ offset: Int) -> T {
        withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }
}
