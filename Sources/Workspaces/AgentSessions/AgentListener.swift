import AgentProtocol
import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Takes agents' connections on a unix socket. Its directory is bound, read-only, into each local sandbox; every server process
/// on the host has a socket of its own there.
///
/// `start()` and `close()` may also be called by hand; both may be called more than once.
package final class AgentListener: Service {
    /// Says whose token it is; nil refuses. Compare hashes, in constant time.
    package typealias Authenticate = @Sendable (Secret<String>) async -> WorkspaceID?

    package let socketPath: String
    private let sessions: AgentSessions
    private let authenticate: Authenticate
    private let logger: Logger
    private let listening = NIOLockedValueBox<(any Channel)?>(nil)

    package init(socketPath: String, sessions: AgentSessions, logger: Logger, authenticate: @escaping Authenticate) {
        (self.socketPath, self.sessions, self.logger, self.authenticate) = (socketPath, sessions, logger, authenticate)
    }

    /// Listens until the service group shuts down, then tells the agents to reconnect elsewhere.
    package func run() async throws {
        try await start()
        try? await gracefulShutdown()
        await close()
    }

    /// - Throws: `AppError` when the socket cannot be made, saying why.
    package func start() async throws {
        guard listening.withLockedValue({ $0 == nil }) else { return }
        guard socketPath.utf8.count < 108 else {
            throw AppError(
                .badRequest,
                "The agents' socket '\(socketPath)' has a path of \(socketPath.utf8.count) bytes; unix sockets allow 107. "
                    + "Use a shorter --data-dir.", field: "data-dir")
        }
        SocketSweep.removeDead(in: URL(fileURLWithPath: socketPath).deletingLastPathComponent().path)
        do {
            let channel = try await Tunnel.listen(unixSocket: socketPath, group: MultiThreadedEventLoopGroup.singleton) { hello in
                await self.decide(hello)
            }
            // Agents have uids of their own. Who may reach the directory is decided by its mode; who is let in, by the token.
            chmod(socketPath, 0o777)
            listening.withLockedValue { $0 = channel }
        } catch {
            throw AppError(.internal, "Cannot listen for agents on '\(socketPath)'.", detail: "\(error)", cause: error)
        }
    }

    /// Takes no more connections, and closes those there are: "going away, reconnect". Takes at most a second.
    package func close() async {
        let channel = listening.withLockedValue { channel in
            defer { channel = nil }
            return channel
        }
        unlink(socketPath)
        try? await channel?.close()
        await sessions.close()
    }

    private func decide(_ hello: Hello) async -> (HelloReply, (@Sendable (Tunnel) -> Void)?) {
        guard let workspace = await authenticate(Secret(hello.token)) else {
            return (.refuse("token", "The token is unknown or no longer valid."), nil)
        }
        guard let version = ProtocolVersion.highestCommon(hello.versions) else {
            sessions.refuse(workspace, versions: hello.versions)
            return (
                .refuse("version", "This server speaks tunnel versions \(ProtocolVersion.spoken), the agent \(hello.versions)."),
                nil
            )
        }
        let sessions = sessions
        return (.accept(version: version), { tunnel in sessions.add(tunnel, hello, workspace) })
    }
}

/// Sockets that dead server processes left behind.
enum SocketSweep {
    static func removeDead(in directory: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where name.hasSuffix(".sock") {
            let path = directory + "/" + name
            if isRefused(path) { unlink(path) }
        }
    }

    /// True only if nobody listens any more; anything else that goes wrong says nothing.
    private static func isRefused(_ path: String) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { Foundation.close(descriptor) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result != 0 && errno == ECONNREFUSED
    }
}
