import AgentProtocol
import Core
import Foundation
import NIOCore
import NIOPosix
import Testing
import Workspaces

/// Peers that are gone without a word: each side notices within its patience, and the session comes back by itself.
@Suite(.serialized, .timeLimit(.minutes(5))) struct AgentKeepAliveTests {
    /// Its patience and one more look, with room for a busy machine.
    private static let noticed = Duration.seconds(30)

    @Test func `an agent that is stopped loses its session, what waits for it fails, and afterwards it is back`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.sh("echo before", id: "before")
                kill(harness.agentPID, SIGSTOP)
                let begin = ContinuousClock.now
                let error = await #expect(throws: AppError.self) {
                    _ = try await agent.output("before", wait: .seconds(120), until: .exit)
                }
                // Long before the request's own patience is over.
                #expect(error?.code == .unavailable)
                #expect(ContinuousClock.now - begin < Self.noticed)
                #expect(server.sessions.present(harness.workspace) == nil)
                kill(harness.agentPID, SIGCONT)
                let again = try await server.sessions.connection(for: harness.workspace, within: Self.noticed)
                #expect(try await again.status().start == 1)
                #expect(try await again.output("before").status.state == .exited(0))
            }
        }
    }

    @Test func `an agent behind a connection that swallows everything dials again, and both sides forget the old one`() async throws
    {
        try await AgentHarness.with { harness in
            try await harness.withServer(folder: harness.directory) { server in
                try await SwallowingRelay.with(harness.sockets + "/relay.sock", to: harness.directory + "/server.sock") { relay in
                    let first = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                    #expect(try await first.status().start == 1)
                    relay.swallow()
                    await first.waitUntilClosed()
                    let second = try await server.sessions.connection(for: harness.workspace, within: Self.noticed)
                    #expect(second !== first)
                    #expect(try await second.status().start == 1)
                }
            }
        }
    }

    @Test func `a connection on which nothing happens stays`() async throws {
        try await AgentHarness.connected { _, agent in
            // Longer than the patience: only answered pings keep it.
            let closed = Task { await agent.waitUntilClosed() }
            let timer = MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: KeepAlive().patience + .seconds(4)) {}
            try await timer.futureResult.get()
            #expect(agent.isOpen)
            #expect(try await agent.status().start == 1)
            closed.cancel()
        }
    }
}
