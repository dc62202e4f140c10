import Core
import Foundation
import Glibc
import Logging
import NIOConcurrencyHelpers

/// The launcher process and the conversation with it. It ends when this value's last reference goes or `close` is called;
/// sandboxes do not.
final class Launcher: Sendable {
    private struct State {
        var next: UInt32 = 1
        var waiting: [UInt32: CheckedContinuation<LauncherReply, any Error>] = [:]
        var isOpen = true
        /// How the process ended, once it has.
        var status: Int32?
    }

    private let socket: Int32
    /// Nil: the server's own, spoken to on its behalf.
    private let pid: pid_t?
    private let state = NIOLockedValueBox(State())
    private let logger: Logger
    /// Called once, when the launcher has ended and was not asked to.
    private let onEnd: @Sendable () -> Void

    /// Returns when the launcher has checked its options.
    /// - Throws: `unavailable` when it refuses them, or is of another build.
    static func start(
        _ configuration: SandboxConfiguration, logger: Logger, onEnd: @escaping @Sendable () -> Void = {}
    ) async throws -> Launcher {
        let (pid, socket) = try ChildProcess.start(
            configuration.launcherPath, arguments: configuration.launcherArguments, environment: [:], kind: SOCK_SEQPACKET)
        let launcher = Launcher(pid: pid, socket: socket, logger: logger, onEnd: onEnd)
        let ready: LauncherReply
        do {
            ready = try await launcher.reply(to: 0) {
                // The first word is the launcher's own, a reply to nothing.
                let (state, pid) = (launcher.state, launcher.pid)
                let (logger, onEnd) = (launcher.logger, launcher.onEnd)
                Thread.detachNewThread { Self.read(socket, pid, state, logger, onEnd) }
                return true
            }
        } catch {
            throw LauncherVersion.refusal(launcher.state.withLockedValue { $0.status }, of: configuration.launcherPath)
        }
        try LauncherVersion.check(ready.version, of: configuration.launcherPath)
        return launcher
    }

    /// Speaks with a launcher that the server started while it was root and keeps; it is ready.
    static func shared(_ socket: Int32, logger: Logger, onEnd: @escaping @Sendable () -> Void) -> Launcher {
        let launcher = Launcher(pid: nil, socket: socket, logger: logger, onEnd: onEnd)
        // Answers to who spoke with it before must not be taken for answers to us.
        launcher.state.withLockedValue { $0.next = .random(in: 1...(.max / 2)) }
        let state = launcher.state
        Thread.detachNewThread { Self.read(socket, nil, state, logger, onEnd) }
        return launcher
    }

    private init(pid: pid_t?, socket: Int32, logger: Logger, onEnd: @escaping @Sendable () -> Void) {
        self.pid = pid
        self.socket = socket
        self.logger = logger
        self.onEnd = onEnd
    }

    deinit { close() }

    /// Ends the launcher, unless it is the server's. What is waiting for it fails.
    func close() {
        // The reader sees the end, closes the descriptor and waits for the process.
        state.withLockedValue { state in
            if state.isOpen, pid != nil { shutdown(socket, Int32(SHUT_RDWR)) }
            state.isOpen = false
        }
    }

    func call(_ request: LauncherRequest) async throws -> LauncherReply {
        let id = state.withLockedValue { state in
            defer { state.next = state.next == .max ? 1 : state.next + 1 }
            return state.next
        }
        let bytes = request.bytes(request: id)
        return try await reply(to: id) { [socket] in send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count }
    }

    private static let gone = AppError(.unavailable, "The sandbox launcher has ended.", retry: .after(.seconds(1)))

    /// `send` runs under the lock: the descriptor is open for that long.
    private func reply(to id: UInt32, after send: () -> Bool) async throws -> LauncherReply {
        try await withCheckedThrowingContinuation { continuation in
            let sent = state.withLockedValue { state in
                guard state.isOpen else { return false }
                state.waiting[id] = continuation
                if send() { return true }
                state.waiting[id] = nil
                return false
            }
            if !sent { continuation.resume(throwing: Self.gone) }
        }
    }

    private static func read(
        _ socket: Int32, _ pid: pid_t?, _ state: NIOLockedValueBox<State>, _ logger: Logger, _ onEnd: @Sendable () -> Void
    ) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            guard let reply = LauncherReply(Array(buffer[..<count])) else { continue }
            state.withLockedValue { $0.waiting.removeValue(forKey: reply.request) }?.resume(returning: reply)
        }
        let (expected, waiting) = state.withLockedValue { state in
            defer { (state.isOpen, state.waiting) = (false, [:]) }
            Glibc.close(socket)
            return (!state.isOpen, state.waiting)
        }
        let status = pid.map(ChildProcess.reap) ?? 0
        state.withLockedValue { $0.status = status }
        for continuation in waiting.values { continuation.resume(throwing: gone) }
        if !expected {
            logger.error("the sandbox launcher ended", metadata: ["status": "\(status)"])
            onEnd()
        }
    }
}
