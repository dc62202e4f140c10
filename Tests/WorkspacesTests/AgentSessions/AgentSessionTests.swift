import AgentProtocol
import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Workspaces

@Suite(.serialized) struct AgentSessionTests {
    private let clock = ContinuousClock()

    private func dial(_ harness: AgentHarness, token: String, versions: [Int] = ProtocolVersion.spoken) async throws -> Tunnel {
        try await Tunnel.dial(
            unixSocket: harness.sockets + "/server.sock",
            hello: Hello(role: .serve, token: token, versions: versions, agent: "test", sandbox: "s", start: 1),
            group: MultiThreadedEventLoopGroup.singleton)
    }

    @Test func `an unknown token and an unknown version are refused with the reason`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try await harness.withServer { server in
                await #expect(throws: TunnelError.refused(code: "token", message: "The token is unknown or no longer valid.")) {
                    try await dial(harness, token: "wrong")
                }
                await #expect(
                    throws: TunnelError.refused(code: "version", message: "This server speaks tunnel versions [1], the agent [99].")
                ) {
                    try await dial(harness, token: harness.token, versions: [99])
                }
                #expect(server.sessions.connected.isEmpty)
            }
        }
    }

    @Test func `whoever does not speak the protocol is told so and cut off`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try await harness.withServer { _ in
                for hostile in ["GET / HTTP/1.1\r\n\r\n", "slipway-tunnel {\"role\":\n", String(repeating: "x", count: 5000)] {
                    let socket = try RawSocket(harness.sockets + "/server.sock")
                    socket.send(hostile)
                    #expect(socket.readAll().contains("bad_hello"))
                }
                let flood = try RawSocket(harness.sockets + "/server.sock")
                flood.send(String(repeating: "x", count: 1 << 20))
                _ = flood.readAll()  // ends
            }
        }
    }

    @Test func `a newer connection of an agent replaces the older`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let old = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                let tunnel = try await dial(harness, token: harness.token)
                defer { tunnel.channel.close(promise: nil) }
                await old.waitUntilClosed()
                let error = await #expect(throws: AppError.self) { try await old.status() }
                #expect(error?.code == .unavailable)
                #expect(error?.retry == .now)
            }
        }
    }

    @Test func `who waits for an agent gets it when it connects`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try await harness.withServer { server in
                async let connection = server.sessions.connection(for: harness.workspace, within: .seconds(20))
                try harness.startAgent()
                #expect(try await connection.status().sandbox == harness.sandbox)
            }
        }
    }

    @Test func `waiting for an agent ends with the patience, with cancellation and with the server`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try await harness.withServer { server in
                let late = await #expect(throws: AppError.self) {
                    try await server.sessions.connection(for: harness.workspace, within: .milliseconds(50))
                }
                #expect(late?.code == .timeout)

                let cancelled = Task { try await server.sessions.connection(for: harness.workspace, within: .seconds(600)) }
                cancelled.cancel()
                await #expect(throws: CancellationError.self) { try await cancelled.value }

                let waiting = Task { try await server.sessions.connection(for: harness.workspace, within: .seconds(600)) }
                let begin = clock.now
                await server.listener.close()
                let closed = await #expect(throws: AppError.self) { try await waiting.value }
                #expect(closed?.code == .unavailable)
                #expect(clock.now - begin < .seconds(5))
            }
        }
    }

    @Test func `shutting down with polls under way takes less than a second and tells them to come again`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.start(ProcessStart(id: "sleeper", fence: 1, shell: "echo up; sleep 600"))
                let first = try await agent.output("sleeper", wait: .seconds(20))
                let polls = (0..<20).map { _ in
                    Task { try await agent.output("sleeper", from: .cursor(first.cursor), wait: .seconds(600)) }
                }
                _ = try await agent.status()
                let begin = clock.now
                await server.listener.close()
                #expect(clock.now - begin < .seconds(1))
                for poll in polls {
                    let error = await #expect(throws: AppError.self) { try await poll.value }
                    #expect(error?.code == .unavailable)
                    #expect(error?.retry == .now)
                }
                await server.listener.close()  // once more does no harm
            }
        }
    }

    @Test func `an agent comes back to a server that was restarted, and to one it has not seen`() async throws {
        try await AgentHarness.with { harness in
            for name in ["a", "a", "b"] {
                try await harness.withServer(name: name) { server in
                    let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                    #expect(try await agent.status().start == 1)
                }
            }
        }
    }

    @Test func `an agent serves several servers at once`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer(name: "a") { a in
                try await harness.withServer(name: "b") { b in
                    let one = try await a.sessions.connection(for: harness.workspace, within: .seconds(20))
                    let two = try await b.sessions.connection(for: harness.workspace, within: .seconds(20))
                    _ = try await one.sh("echo shared", id: "shared")
                    #expect(try await two.output("shared").status.state == .exited(0))
                }
            }
        }
    }

    @Test func `a disconnected workspace loses its connection`() async throws {
        try await AgentHarness.connected { harness, agent in
            agent.close()
            await agent.waitUntilClosed()
            let error = await #expect(throws: AppError.self) { try await agent.status() }
            #expect(error?.code == .unavailable)
        }
    }

    @Test func `sockets of dead servers are removed, those of living ones stay`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            let dead = harness.sockets + "/dead.sock"
            try RawSocket.leaveDead(dead)
            try await harness.withServer(name: "a") { _ in
                try await harness.withServer(name: "b") { _ in
                    #expect(!FileManager.default.fileExists(atPath: dead))
                    #expect(FileManager.default.fileExists(atPath: harness.sockets + "/a.sock"))
                }
            }
        }
    }

    @Test func `a socket's path that is too long is refused in words`() async throws {
        let path = "/tmp/" + String(repeating: "x", count: 120) + ".sock"
        let listener = AgentListener(socketPath: path, sessions: AgentSessions(logger: .test), logger: .test) { _ in nil }
        let error = await #expect(throws: AppError.self) { try await listener.start() }
        #expect(error?.field == "data-dir")
    }

    @Test func `an agent of another build is refused, and whoever waits for it is told what to run`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try await harness.withServer { server in
                let waiting = Task { try await server.sessions.connection(for: harness.workspace, within: .seconds(60)) }
                await #expect(throws: TunnelError.self) {
                    _ = try await dial(harness, token: harness.token, versions: [7, 8])
                }
                for attempt in [
                    waiting, Task { try await server.sessions.connection(for: harness.workspace, within: .seconds(60)) },
                ] {
                    let error = await #expect(throws: AppError.self) { _ = try await attempt.value }
                    #expect(error?.code == .unavailable)
                    #expect(error?.message.contains("speaks versions [7, 8] of the tunnel, this server [1]") == true)
                    #expect(error?.message.contains("Run: make tools agent") == true)
                }
            }
        }
    }

    @Test func `what an agent logged while nobody listened reaches the server that comes`() async throws {
        try await AgentHarness.with { harness in
            let lines = LineCatcher()
            // Refused first: the agent has something to tell.
            let refusing = AgentListener(
                socketPath: harness.sockets + "/server.sock", sessions: AgentSessions(logger: .test), logger: .test
            ) { _ in nil }
            try await refusing.start()
            try await harness.waitForLog("server.sock refused: token")
            await refusing.close()
            try await harness.withServer(logger: Logger(label: "catcher") { _ in lines }) { server in
                _ = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                let line = await lines.first { $0.contains("refused: token") }
                #expect(line == "agent: server.sock refused: token: The token is unknown or no longer valid.")
            }
        }
    }

    @Test func `cancelling a thousand polls leaves the connection alive`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.start(ProcessStart(id: "sleeper", fence: 1, shell: "echo up; sleep 600"))
            let cursor = try await agent.output("sleeper", wait: .seconds(20)).cursor
            for _ in 0..<1000 {
                let poll = Task { try await agent.output("sleeper", from: .cursor(cursor), wait: .seconds(600)) }
                poll.cancel()
                await #expect(throws: CancellationError.self) { try await poll.value }
            }
            #expect(try await agent.status().runningProcesses == 1)
        }
    }

    @Test func `four hundred polls wait at once and all see the output`() async throws {
        try await AgentHarness.connected { harness, agent in
            _ = try await agent.start(ProcessStart(id: "gated", fence: 1, shell: "mkfifo gate; echo up; read x < gate; echo done"))
            let cursor = try await agent.output("gated", wait: .seconds(20)).cursor
            try await withThrowingTaskGroup { group in
                for _ in 0..<400 {
                    group.addTask {
                        let piece = try await agent.output("gated", from: .cursor(cursor), wait: .seconds(60))
                        #expect(String(decoding: piece.data, as: UTF8.self) == "done\n")
                    }
                }
                _ = try await agent.sh("echo go > gate")
                try await group.waitForAll()
            }
        }
    }
}

/// A plain unix socket.
struct RawSocket {
    private let handle: FileHandle

    init(_ path: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let result = Self.with(path) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        guard result == 0 else { throw POSIXError(.ECONNREFUSED) }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(handle.fileDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    func readAll() -> String { String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self) }

    /// A socket file that nobody listens on.
    static func leaveDead(_ path: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        guard with(path, { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }) == 0 else {
            throw POSIXError(.EADDRINUSE)
        }
    }

    private static func with(_ path: String, _ body: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
    }
}

/// Keeps log lines and lets a test wait for one.
private final class LineCatcher: LogHandler, Sendable {
    private let stream: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func first(where matches: (String) -> Bool) async -> String? {
        for await line in stream where matches(line) { return line }
        return nil
    }

    func log(event: LogEvent) { continuation.yield("\(event.message)") }

    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }

    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }

    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }
}
