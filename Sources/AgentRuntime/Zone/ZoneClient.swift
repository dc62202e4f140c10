import CAgent
import Glibc
import NIOConcurrencyHelpers
import NIOCore

enum ZoneEvent: Sendable {
    case status(id: String, ZoneStatus)
    case output(id: String, total: UInt64)
    /// The zone ended, and with it everything in the workspace.
    case gone
}

/// The agent's side of the zone's socket: requests with one reply each, and events.
///
/// One thread reads. Whoever asks writes by himself: the zone always reads on, so that a write waits for microseconds at most.
final class ZoneClient: Sendable {
    private struct Waiting {
        var gathered: [ZoneMessage] = []
        let continuation: CheckedContinuation<[ZoneMessage], any Error>
    }

    private struct State {
        var next: UInt32
        var waiting: [UInt32: Waiting] = [:]
        var isGone = false
    }

    private let descriptor: Int32
    private let state: NIOLockedValueBox<State>
    private let onEvent: @Sendable (ZoneEvent) -> Void

    /// Request numbers begin at random, so that replies meant for an earlier life of the agent are told apart.
    init(descriptor: Int32, onEvent: @escaping @Sendable (ZoneEvent) -> Void) {
        (self.descriptor, self.onEvent) = (descriptor, onEvent)
        state = NIOLockedValueBox(State(next: UInt32.random(in: 1...UInt32.max)))
    }

    /// Begins to read. Events come on the reading thread and must not wait for the zone there.
    func begin() {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        Threads.detach { self.read() }
    }

    /// - Returns: The zone's wire version.
    func hello() async throws -> UInt32 {
        var payload = try await ask(ZoneMessage(.hello)).payload
        return payload.readInteger(endianness: .little, as: UInt32.self) ?? 0
    }

    /// The descriptors stay the caller's.
    func start(_ id: String, _ start: ZoneStart, descriptors: [Int32]) async throws -> ZoneStarted {
        let reply = try await ask(ZoneMessage(.start, id: id, payload: start.payload), descriptors: descriptors)
        guard reply.kind == .startReply, let started = ZoneStarted(reply.payload) else { throw ZoneError.unreadableReply }
        return started
    }

    /// - Returns: An errno, 0 for success.
    func signal(_ id: String, _ number: Int32, scope: UInt32) async throws -> Int32 {
        var payload = ByteBuffer()
        payload.writeMultipleIntegers(UInt32(bitPattern: number), scope, endianness: .little)
        var reply = try await ask(ZoneMessage(.signal, id: id, payload: payload)).payload
        return reply.readInteger(endianness: .little, as: Int32.self) ?? EPROTO
    }

    /// - Returns: An errno, 0 for success.
    @discardableResult
    func forget(_ id: String) async throws -> Int32 {
        var reply = try await ask(ZoneMessage(.forget, id: id)).payload
        return reply.readInteger(endianness: .little, as: Int32.self) ?? EPROTO
    }

    /// Everything in the zone's table, by id.
    func list() async throws -> [String: ZoneStatus] {
        var table: [String: ZoneStatus] = [:]
        for message in try await askAll(ZoneMessage(.list)) where message.kind == .statusReply {
            table[message.id] = ZoneStatus(message.payload)
        }
        return table
    }

    private func ask(_ message: ZoneMessage, descriptors: [Int32] = []) async throws -> ZoneMessage {
        guard let reply = try await askAll(message, descriptors: descriptors).last else { throw ZoneError.unreadableReply }
        if reply.kind == .malformed { throw ZoneError.malformedRequest }
        return reply
    }

    private func askAll(_ message: ZoneMessage, descriptors: [Int32] = []) async throws -> [ZoneMessage] {
        try await withCheckedThrowingContinuation { continuation in
            var message = message
            let isGone = state.withLockedValue { state -> Bool in
                if state.isGone { return true }
                message.request = state.next
                state.next = state.next == .max ? 1 : state.next + 1
                state.waiting[message.request] = Waiting(continuation: continuation)
                return false
            }
            if isGone { return continuation.resume(throwing: ZoneError.gone) }
            let record = message.record
            let sent = record.withUnsafeReadableBytes {
                cagent_send(descriptor, $0.baseAddress, $0.count, descriptors, Int32(descriptors.count), 1)
            }
            if sent < 0, let waiting = state.withLockedValue({ $0.waiting.removeValue(forKey: message.request) }) {
                waiting.continuation.resume(throwing: ZoneError.system(Int32(-sent)))
            }
        }
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: ZoneMessage.limit)
        while true {
            let count = cagent_receive(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            guard let message = ZoneMessage(ByteBuffer(bytes: buffer[..<count])) else { continue }
            handle(message)
        }
        let waiting = state.withLockedValue { state in
            state.isGone = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for request in waiting.values { request.continuation.resume(throwing: ZoneError.gone) }
        onEvent(.gone)
    }

    private func handle(_ message: ZoneMessage) {
        switch message.kind {
        case .statusEvent:
            if let status = ZoneStatus(message.payload) { onEvent(.status(id: message.id, status)) }
        case .outputEvent:
            if let total = message.payload.getInteger(at: message.payload.readerIndex, endianness: .little, as: UInt64.self) {
                onEvent(.output(id: message.id, total: total))
            }
        default:
            let done = state.withLockedValue { state -> Waiting? in
                guard var waiting = state.waiting[message.request] else { return nil }
                waiting.gathered.append(message)
                // A list is the one request with many replies; they carry the request's number until its end.
                if message.kind == .statusReply {
                    state.waiting[message.request] = waiting
                    return nil
                }
                state.waiting[message.request] = nil
                return waiting
            }
            done?.continuation.resume(returning: done?.gathered ?? [])
        }
    }
}

enum ZoneError: Error { case gone, unreadableReply, malformedRequest, system(Int32) }
