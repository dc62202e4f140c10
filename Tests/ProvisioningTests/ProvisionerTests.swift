import Core
import Foundation
import Glibc
import Logging
import Testing

@testable import Provisioning

/// The provisioner as the server uses it: a process of its own at the other end of a socket.
///
/// The daemon's program is this test program's `slipway-server` where it has been built.
@Suite(.serialized)
struct ProvisionerTests {
    static let server = "\(Bundle.main.bundlePath)/slipway-server"
    static var canRun: Bool { access(server, X_OK) == 0 }

    private func with(_ mode: Mode, _ body: (TestHost, ProvisionerClient) async throws -> Void) async throws {
        try await TestHost.with(mode) { host in
            host.sandbox.close()
            let client = ProvisionerClient(
                .init(executable: Self.server, configuration: host.configuration), logger: TestHost.logger)
            try await body(host, client)
            client.close()
        }
    }

    @Test(.enabled(if: canRun), arguments: Mode.possible)
    func `a workspace starts, is found, stops and is deleted through the daemon`(mode: Mode) async throws {
        try await with(mode) { host, client in
            #expect(try await client.probe().isolation.uids.isEmpty == false)
            let spec = TestHost.spec()
            let record = try await client.start(spec)
            #expect(host.sandbox.isAlive(record))
            #expect(try await client.status(workspace: spec.workspace, number: spec.number)?.childPID == record.childPID)
            #expect(try await client.usage(record).processes >= 3)
            await expectError(.conflict, "running already") { _ = try await client.start(spec) }
            try await client.stop(record)
            var deaths = client.deaths.makeAsyncIterator()
            let death = await deaths.next()
            #expect(death?.sandboxID == record.sandboxID && death?.cause == .stopped)
            try await client.delete(workspace: spec.workspace, number: spec.number)
            #expect(try await client.status(workspace: spec.workspace, number: spec.number) == nil)
        }
    }

    @Test(.enabled(if: canRun), arguments: Mode.possible)
    func `a daemon that is killed comes back, and what died meanwhile is told`(mode: Mode) async throws {
        try await with(mode) { host, client in
            let (first, second) = (TestHost.spec(), TestHost.spec())
            let doomed = try await client.start(first)
            let survivor = try await client.start(second)
            let daemon = try #require(client.daemonProcess)
            if geteuid() == 0 {
                let status = try String(contentsOfFile: "/proc/\(daemon)/status", encoding: .utf8)
                #expect(status.contains("CapEff:\t0000000000000000") && !status.contains("Uid:\t0\t"), "root is given up")
                let environment = try String(contentsOfFile: "/proc/\(daemon)/environ", encoding: .utf8)
                #expect(environment == "PATH=/usr/bin:/bin\0")
            }
            kill(daemon, SIGKILL)
            kill(doomed.childPID, SIGKILL)
            var deaths = client.deaths.makeAsyncIterator()
            // Any request starts the next daemon.
            while (try? await client.status(workspace: second.workspace, number: second.number))?.childPID != survivor.childPID {}
            #expect(await deaths.next()?.sandboxID == doomed.sandboxID)
            #expect(client.daemonProcess != daemon)
            try await client.stop(survivor)
            #expect(await deaths.next()?.sandboxID == survivor.sandboxID)
        }
    }

    @Test(.enabled(if: canRun))
    func `the daemon's reason for not working reaches who asks`() async throws {
        var configuration = try TestHost.configuration(Mode.possible[0])
        defer { try? FileManager.default.removeItem(atPath: configuration.base) }
        configuration.libexec = "/nowhere"
        let client = ProvisionerClient(.init(executable: Self.server, configuration: configuration), logger: TestHost.logger)
        await expectError(.unavailable, "/nowhere/slipway-launcher is missing") { _ = try await client.probe() }
        client.close()
        await expectError(.unavailable, "shutting down") { _ = try await client.probe() }
    }

    /// The daemon is nobody by then, and the data directory somebody's home.
    @Test(.enabled(if: canRun && geteuid() == 0))
    func `a data directory that only root can reach serves as well`() async throws {
        let parent = try TestHost.makeDirectory("private")
        chmod(parent, 0o700)
        defer { try? FileManager.default.removeItem(atPath: parent) }
        var configuration = try TestHost.configuration(.root)
        try FileManager.default.removeItem(atPath: configuration.base)
        configuration.base = "\(parent)/data/sandboxes"
        let client = ProvisionerClient(.init(executable: Self.server, configuration: configuration), logger: TestHost.logger)
        let spec = TestHost.spec()
        let record = try await client.start(spec)
        let server = try StandInServer(configuration)
        #expect(try server.accept().shell("echo here").output == "here\n")
        server.close()
        try await client.stop(record)
        try await client.delete(workspace: spec.workspace, number: spec.number)
        client.close()

        configuration.freeSpaceFloor = 1 << 60
        let full = ProvisionerClient(.init(executable: Self.server, configuration: configuration), logger: TestHost.logger)
        await expectError(.unavailable, "free where workspaces live") { _ = try await full.start(spec) }
        full.close()
    }

    @Test func `messages survive the pipe and a frame that is none ends it`() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let ours = FrameSocket(ends[0]), theirs = FrameSocket(ends[1])
        var received = theirs.values(ProvisionerRequest.self).makeAsyncIterator()
        let spec = TestHost.spec()
        for id in 1...200 { try ours.send(ProvisionerRequest(id: id, verb: .start(spec))) }
        for id in 1...200 {
            let request = await received.next()
            guard case .start(let read)? = request?.verb else { Issue.record("\(String(describing: request))"); return }
            #expect(request?.id == id && read.token == spec.token && read.workspace == spec.workspace)
        }
        #expect(throws: AppError.self) { try ours.send(String(repeating: "x", count: FrameSocket.largest)) }
        let garbage: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3]
        send(ends[0], garbage, garbage.count, 0)
        #expect(await received.next() == nil)
    }

    @Test func `an error keeps its code, words and retry through the pipe`() throws {
        let error = AppError(.conflict, "No.", field: "number", detail: "why", retry: .after(.milliseconds(1500)))
        let data = try JSONEncoder().encode(ProvisionerFailure(error))
        let back = try JSONDecoder().decode(ProvisionerFailure.self, from: data).error
        #expect(back.code == .conflict && back.message == "No." && back.field == "number" && back.detail == "why")
        #expect(back.retry == .after(.milliseconds(1500)))
    }
}
