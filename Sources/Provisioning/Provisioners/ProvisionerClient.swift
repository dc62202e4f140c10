import Core
import Foundation
import Glibc
import Logging
import NIOConcurrencyHelpers

/// The server's side of a provisioner daemon: starts the process with the first request, and again when it has ended.
///
/// Sandboxes do not end with the daemon. A new one adopts those the old one looked after; what died in between is told then.
package final class ProvisionerClient: Provisioner {
    /// How the daemon is started: `<executable> provisioner <configuration as JSON>`.
    package struct Command: Sendable {
        var executable: String
        var configuration: SandboxConfiguration
        /// Of a server that gave root up: the launcher it started before, or why there is none. Nil: the daemon starts its own.
        var launcher: Result<PrivilegedLauncher, AppError>?

        package init(
            executable: String, configuration: SandboxConfiguration, launcher: Result<PrivilegedLauncher, AppError>? = nil
        ) {
            self.executable = executable
            self.configuration = configuration
            self.launcher = launcher
        }
    }

    private typealias Answer = Result<ProvisionerMessage, AppError>

    private struct Daemon {
        var socket: FrameSocket
        var pid: pid_t
        var began = ContinuousClock.now
        /// Why it ends, once it has said so.
        var reason: AppError?
    }

    private struct State {
        var daemon: Daemon?
        var next = 1
        var waiting: [Int: @Sendable (Answer) -> Void] = [:]
        var living: [String: (record: SandboxRecord, limits: SandboxLimits)] = [:]
        var launcher: Result<PrivilegedLauncher, AppError>?
        var isClosed = false
    }

    package let deaths: AsyncStream<SandboxDeath>
    private let tellDeath: AsyncStream<SandboxDeath>.Continuation
    private let executable: String
    private let configuration: SandboxConfiguration
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    package init(_ command: Command, logger: Logger) {
        executable = command.executable
        configuration = command.configuration
        self.logger = logger
        state.withLockedValue { $0.launcher = command.launcher }
        (deaths, tellDeath) = AsyncStream.makeStream()
    }

    deinit { close() }

    /// Ends the daemon and its launcher; sandboxes live on.
    package func close() {
        state.withLockedValue { state in
            state.isClosed = true
            state.daemon?.socket.close()
            state.launcher = nil
        }
        tellDeath.finish()
    }

    /// The running daemon's process id.
    var daemonProcess: pid_t? { state.withLockedValue { $0.daemon?.pid } }

    // MARK: Provisioner

    package func probe() async throws -> SandboxCapabilities {
        guard case .capabilities(_, let value) = try await call(.probe) else { throw Self.nonsense }
        return value
    }

    package func start(_ spec: SandboxSpec) async throws -> SandboxRecord {
        guard case .record(_, let record?) = try await call(.start(spec)) else { throw Self.nonsense }
        state.withLockedValue { $0.living[record.sandboxID] = (record, spec.limits) }
        return record
    }

    package func stop(_ record: SandboxRecord) async throws { _ = try await call(.stop(record)) }

    package func delete(workspace: WorkspaceID, number: Int) async throws {
        _ = try await call(.delete(workspace: workspace, number: number))
    }

    package func status(workspace: WorkspaceID, number: Int) async throws -> SandboxRecord? {
        guard case .record(_, let record) = try await call(.status(workspace: workspace, number: number)) else {
            throw Self.nonsense
        }
        return record
    }

    package func adopt(_ record: SandboxRecord, limits: SandboxLimits) async throws -> Bool {
        guard case .flag(_, let lives) = try await call(.adopt(record, limits: limits)) else { throw Self.nonsense }
        if lives { state.withLockedValue { $0.living[record.sandboxID] = (record, limits) } }
        return lives
    }

    package func usage(_ record: SandboxRecord) async throws -> SandboxUsage {
        guard case .usage(_, let usage) = try await call(.usage(record)) else { throw Self.nonsense }
        return usage
    }

    package func log(workspace: WorkspaceID, number: Int) async throws -> String {
        guard case .text(_, let text) = try await call(.log(workspace: workspace, number: number)) else { throw Self.nonsense }
        return text
    }

    // MARK: Daemon

    private static let nonsense = AppError(.internal, "The provisioner answered something else than was asked.")
    private static let gone = AppError(.unavailable, "The provisioner ended while it worked on this.", retry: .after(.seconds(1)))

    private func call(_ verb: ProvisionerRequest.Verb) async throws -> ProvisionerMessage {
        let answer = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<ProvisionerMessage, any Error>) in
            send(verb) { continuation.resume(with: $0.mapError { $0 as any Error }) }
        }
        if case .failure(_, let failure) = answer { throw failure.error }
        return answer
    }

    /// Sends a request to the daemon, which is started for it if there is none. `onAnswer` is called exactly once.
    private func send(_ verb: ProvisionerRequest.Verb, onAnswer: @escaping @Sendable (Answer) -> Void) {
        let refused: AppError? = state.withLockedValue { state in
            do {
                let socket = try daemon(&state)
                let id = state.next
                state.next += 1
                state.waiting[id] = onAnswer
                do {
                    try socket.send(ProvisionerRequest(id: id, verb: verb))
                } catch {
                    state.waiting[id] = nil
                    throw error
                }
                return nil
            } catch {
                return error as? AppError ?? AppError(.internal, "The provisioner's request cannot be written.", cause: error)
            }
        }
        if let refused { onAnswer(.failure(refused)) }
    }

    private func daemon(_ state: inout State) throws -> FrameSocket {
        if state.isClosed { throw AppError(.unavailable, "The server is shutting down.") }
        if let daemon = state.daemon { return daemon.socket }
        let launcher = try state.launcher?.get()
        let configuration = String(decoding: try JSONEncoder().encode(configuration), as: UTF8.self)
        let (pid, descriptor) = try ChildProcess.start(
            executable,
            arguments: [executable, "provisioner", configuration] + (launcher == nil ? [] : [PrivilegedLauncher.word]),
            environment: ["PATH": "/usr/bin:/bin"], kind: SOCK_STREAM, second: launcher?.socket ?? -1)
        let socket = FrameSocket(descriptor)
        state.daemon = Daemon(socket: socket, pid: pid)
        // Weak: the threads of a daemon must not keep the client, whose end is theirs.
        socket.listen(
            for: ProvisionerMessage.self, onValue: { [weak self] in self?.heard($0) },
            onEnd: { [weak self] in
                let status = ChildProcess.reap(pid)
                self?.ended(socket, status: status)
            })
        for (record, limits) in state.living.values {
            let id = state.next
            state.next += 1
            state.waiting[id] = { [weak self] in self?.adoptedAgain(record, $0) }
            try? socket.send(ProvisionerRequest(id: id, verb: .adopt(record, limits: limits)))
        }
        return socket
    }

    private func heard(_ message: ProvisionerMessage) {
        switch message {
        case .death(let death): tell(death)
        case .fatal(let failure): state.withLockedValue { $0.daemon?.reason = failure.error }
        default:
            guard let id = message.id else { return }
            state.withLockedValue { $0.waiting.removeValue(forKey: id) }?(.success(message))
        }
    }

    private func tell(_ death: SandboxDeath) {
        if state.withLockedValue({ $0.living.removeValue(forKey: death.sandboxID) }) != nil { tellDeath.yield(death) }
    }

    private func adoptedAgain(_ record: SandboxRecord, _ answer: Answer) {
        guard case .success(.flag(_, false)) = answer else { return }
        tell(
            SandboxDeath(
                workspace: record.workspace, number: record.number, sandboxID: record.sandboxID, cause: .ended,
                message: "The workspace's sandbox ended by itself."))
    }

    private func ended(_ socket: FrameSocket, status: Int32) {
        let (daemon, waiting, again): (Daemon?, [@Sendable (Answer) -> Void], Bool) = state.withLockedValue { state in
            guard let daemon = state.daemon, daemon.socket === socket else { return (nil, [], false) }
            defer { (state.daemon, state.waiting) = (nil, [:]) }
            // One that ends at once would end at once again: that waits for the next request.
            let steady = ContinuousClock.now - daemon.began > .seconds(1)
            return (daemon, Array(state.waiting.values), !state.isClosed && !state.living.isEmpty && steady)
        }
        guard let daemon else { return }
        for onAnswer in waiting { onAnswer(.failure(daemon.reason ?? Self.gone)) }
        if state.withLockedValue({ $0.isClosed }) { return }
        logger.error(
            "the provisioner ended", metadata: ["status": "\(status)", "reason": "\(daemon.reason?.message ?? "unknown")"])
        if again { _ = state.withLockedValue { state in Result { try self.daemon(&state) } } }
    }
}
