import AgentProtocol
import NIOConcurrencyHelpers
import NIOCore

/// Keeps connections to every server process that has a socket in the directory, through restarts of either side.
final class ServerDialler: Sendable {
    private let directory: SocketDirectory
    private let routes: AgentRoutes
    private let identity: AgentIdentity
    private let group: any EventLoopGroup
    private let log: AgentLog
    private let served = NIOLockedValueBox<Set<Kept>>([])

    private struct Kept: Hashable {
        var name: String
        var role: Hello.Role
    }

    init(directory: SocketDirectory, routes: AgentRoutes, identity: AgentIdentity, group: any EventLoopGroup, log: AgentLog) {
        (self.directory, self.routes, self.identity, self.group, self.log) = (directory, routes, identity, group, log)
    }

    /// Until the task is cancelled.
    func run() async {
        directory.watch()
        await withDiscardingTaskGroup { tasks in
            while !Task.isCancelled {
                let generation = directory.changed.generation
                // Each role by itself: a name that goes and comes again may have been missed by one of them alone.
                for name in directory.names() {
                    for role in [Hello.Role.serve, .call] {
                        let kept = Kept(name: name, role: role)
                        guard served.withLockedValue({ $0.insert(kept).inserted }) else { continue }
                        tasks.addTask {
                            await self.keep(name, role)
                            self.served.withLockedValue { _ = $0.remove(kept) }
                        }
                    }
                }
                await directory.changed.wait(after: generation, until: .now() + .seconds(1))
            }
            tasks.cancelAll()
        }
    }

    /// Dials one socket again and again until its name is gone.
    private func keep(_ name: String, _ role: Hello.Role) async {
        var backoff = Backoff()
        var random = SystemRandomNumberGenerator()
        var lastReason = ""
        while !Task.isCancelled {
            let generation = directory.changed.generation
            guard directory.exists(name) else { return }
            do {
                let tunnel = try await Tunnel.dial(
                    unixSocket: directory.path + "/" + name, hello: identity.hello(role), group: group)
                if role == .serve { log.info("connected to \(name)") }
                lastReason = ""
                backoff.reset()
                switch role {
                case .serve: await routes.serve(tunnel)
                case .call: await AgentReports(log: log).deliver(over: tunnel)
                }
                tunnel.channel.close(promise: nil)
                if role == .serve { log.info("connection to \(name) ended") }
            } catch let TunnelError.refused(code, message) {
                let reason = "\(name) refused: \(code): \(message)"
                if reason != lastReason { log.error(reason) }
                lastReason = reason
            } catch {}
            await directory.changed.wait(after: generation, until: .now() + backoff.next(using: &random))
        }
    }
}
