import Core
import Foundation
import Glibc
import Testing

@testable import Provisioning

/// What a host offers, and what is said when it does not offer enough.
@Suite(.serialized)
struct ProbeTests {
    @Test(arguments: Mode.possible)
    func `a host is asked by starting a sandbox`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let found = try await host.sandbox.probe()
            #expect(found.isolation.home.hasPrefix("overlay"))
            #expect(found.isolation.uids.hasPrefix(mode == .root ? "own" : "shared"))
            #expect(found.startMilliseconds > 0)
            print("isolation (\(mode)):", found.isolation)
        }
    }

    @Test func `a missing program is named with what to do`() async throws {
        let configuration = try TestHost.configuration(Mode.possible[0])
        defer { try? FileManager.default.removeItem(atPath: configuration.base) }
        await expectError(.unavailable, "apt-get install bubblewrap") {
            try LocalSandbox.checkPrograms(configuration, bubblewrap: "/no/bwrap")
        }
        var elsewhere = configuration
        elsewhere.libexec = "/nowhere"
        await expectError(.unavailable, "/nowhere/slipway-launcher is missing") {
            _ = try await LocalSandbox.open(elsewhere, logger: TestHost.logger)
        }
    }

    /// Says a version and waits, as another build's would; the oldest knew no versions.
    private static func stating(_ version: Int) -> String {
        """
        import socket, struct
        server = socket.socket(fileno=3)
        server.send(struct.pack("<4I", 0, 0, \(version), 0))
        server.recv(1)
        """
    }

    @Test(arguments: [
        (stating(0), "speaks version 0 of the launcher's messages, this server version 1"),
        (stating(2), "speaks version 2 of the launcher's messages, this server version 1"),
        ("raise SystemExit(2)", "does not know an option that this server gives it"),
    ])
    func `a launcher of another build is refused by name`(script: String, reason: String) async throws {
        var configuration = try TestHost.configuration(Mode.possible[0])
        let libexec = configuration.base + "-libexec"
        defer { for path in [configuration.base, libexec] { try? FileManager.default.removeItem(atPath: path) } }
        try FileManager.default.createDirectory(atPath: libexec, withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: libexec + "/sandbox", withDestinationPath: configuration.libexec + "/sandbox")
        let launcher = libexec + "/slipway-launcher"
        try "#!/usr/bin/python3\n\(script)\n".write(toFile: launcher, atomically: false, encoding: .utf8)
        chmod(launcher, 0o755)
        configuration.libexec = libexec
        let words = "\(launcher) \(reason): they are of different builds. Run: make tools agent"
        await expectError(.unavailable, words) { _ = try await LocalSandbox.open(configuration, logger: TestHost.logger) }
        await expectError(.unavailable, words) { _ = try PrivilegedLauncher.start(configuration) }
    }

    @Test(.enabled(if: geteuid() == 0, "only root can be refused for what others may write"))
    func `a base that others may write is refused`() async throws {
        let configuration = try TestHost.configuration(.root)
        defer { try? FileManager.default.removeItem(atPath: configuration.base) }
        chmod(configuration.base, 0o777)
        await expectError(.unavailable, "refused to start") {
            _ = try await LocalSandbox.open(configuration, logger: TestHost.logger)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "root alone hands out uids"))
    func `uids that belong to somebody are refused`() async throws {
        var configuration = try TestHost.configuration(.root)
        defer { try? FileManager.default.removeItem(atPath: configuration.base) }
        configuration.firstUID = 60_000  // nobody is 65534
        await expectError(.unavailable, "refused to start") {
            _ = try await LocalSandbox.open(configuration, logger: TestHost.logger)
        }
    }

    /// A host without user namespaces, as containers often are.
    @Test func `forbidden namespaces are said to be forbidden`() async throws {
        try await TestHost.with(.user) { host in
            let failure = LauncherReply.Failure(
                code: EIO, reason: "launcher: user namespaces are not allowed to this user: Operation not permitted")
            let error = host.sandbox.explain(failure, log: "/x/log")
            #expect(error.code == .unavailable)
            #expect(error.message.contains("kernel.apparmor_restrict_unprivileged_userns=0"))
        }
    }

    @Test func `the start time is field 22, whatever the name holds`() {
        let stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10"
        #expect(HostProcess.parseStartTime(stat) == 98765)
        #expect(HostProcess.parseStartTime("12 (x) S 1") == nil)
        #expect(HostProcess.startTime(of: getpid()) ?? 0 > 0)
        #expect(HostProcess.startTime(of: 0) == nil)
    }

    @Test(arguments: [
        (SandboxSpec(workspace: WorkspaceID(), number: 0, token: Secret("t")), "number is 0"),
        (SandboxSpec(workspace: WorkspaceID(), number: 65536, token: Secret("t")), "number is 65536"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, token: Secret("")), "token"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, token: Secret("a b")), "token"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, token: Secret(String(repeating: "a", count: 513))), "token"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, limits: .init(memoryBytes: 1), token: Secret("t")), "memory is 1"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, limits: .init(processes: 1), token: Secret("t")), "processes is 1"),
        (SandboxSpec(workspace: WorkspaceID(), number: 1, limits: .init(cpuPercent: 0), token: Secret("t")), "cpu is 0"),
    ])
    func `a bad specification is refused by field`(spec: SandboxSpec, words: String) async {
        await expectError(.badRequest, words) { try spec.check() }
    }
}
