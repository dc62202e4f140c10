import AgentProtocol
import NIOCore
import NIOHPACK

/// What the agent says unasked, on the call connection: its log lines. They wait, bounded, while there is no server.
struct AgentReports: Sendable {
    let log: AgentLog

    /// Until the connection ends.
    func deliver(over tunnel: Tunnel) async {
        // Its end is noticed at once, not at the next line.
        tunnel.channel.closeFuture.whenComplete { _ in log.added.ring() }
        while tunnel.channel.isActive, !Task.isCancelled {
            let generation = log.added.generation
            guard let batch = log.take() else {
                await log.added.wait(after: generation, until: .now() + .seconds(5))
                continue
            }
            do { try await send(batch, over: tunnel) } catch {
                log.putBack(batch)
                return
            }
        }
    }

    private func send(_ batch: AgentLogLines, over tunnel: Tunnel) async throws {
        let stream = try await tunnel.open(
            [":method": "POST", ":scheme": "http", ":authority": "server", ":path": "/v1/logs"], body: try WireJSON.encode(batch))
        let head = try await stream.receiveHead()
        _ = try await stream.collect(upTo: 4096)
        guard head.first(name: ":status") == "200" else { throw TunnelError.connectionClosed }
    }
}
