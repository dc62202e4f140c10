import Core
import Foundation
import Glibc
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Provisioning

/// Programs in sandboxes of their own, on this host.
@Suite(.serialized) struct SandboxedProgramTests {
    /// What a program says.
    private final class Heard: Sendable {
        private let lines: AsyncStream<String>
        private let line: AsyncStream<String>.Continuation

        init() { (lines, line) = AsyncStream.makeStream() }

        func start(_ command: [String], _ environment: [String: String] = [:], change: (inout ProgramSpec) -> Void = { _ in })
            throws
            -> SandboxedProgram
        {
            var spec = ProgramSpec(command: command, environment: environment)
            change(&spec)
            let line = line
            return try SandboxedProgram.start(spec, try SandboxedProgramTests.configuration.get()) {
                line.yield($0)
            } onEnd: {
                line.finish()
            }
        }

        /// Nil when it has ended.
        func next() async -> String? {
            var iterator = lines.makeAsyncIterator()
            return await iterator.next()
        }
    }

    static let configuration = Result<SandboxConfiguration, any Error> {
        let made = try TestHost.configuration(Mode.possible[0])
        // Nothing is kept there.
        try FileManager.default.removeItem(atPath: made.base)
        return made
    }

    @Test func `a program sees nothing of the server and of the host but what is listed`() async throws {
        setenv("SLIPWAY_TEST_SECRET", "of the server", 1)
        let heard = Heard()
        let code = """
            import json, os, socket
            def tried(what):
                try: return str(what())
                except OSError as error: return type(error).__name__
            print(json.dumps({
                "environment": dict(os.environ), "user": os.getuid(), "root": sorted(os.listdir("/")), "files": os.listdir("."),
                "descriptors": sorted(os.listdir("/proc/self/fd"))[:6], "processes": len([p for p in os.listdir("/proc") if p.isdigit()]),
                "write": tried(lambda: open("/usr/x", "w")), "root_write": tried(lambda: open("/x", "w")),
                "dev_write": tried(lambda: open("/dev/x", "w")),
                "may_write": [tried(lambda: open(path, "w")) for path in ["/dev/null", "/dev/shm/x", "/tmp/x", "/home/x"]],
                "network": tried(lambda: socket.create_connection(("127.0.0.1", 22), 2)), "shadow": tried(lambda: open("/etc/shadow")),
                "namespace": tried(lambda: os.unshare(os.CLONE_NEWUSER) if hasattr(os, "unshare") else 1/1 and open("/none"))}))
            """
        let program = try heard.start(["/usr/bin/python3", "-c", code], ["GIVEN": "a secret"])
        let line = try #require(await heard.next(), "\(program.lastWords)")
        let said = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        var environment = try #require(said["environment"] as? [String: String])
        // The shell's own, and Python's.
        for name in ["PWD", "LC_CTYPE", "SHLVL", "_"] { environment[name] = nil }
        #expect(environment.keys.sorted() == ["GIVEN", "HOME", "LANG", "PATH"] && environment["GIVEN"] == "a secret")
        #expect(said["user"] as? Int == 1000)
        let root = try #require(said["root"] as? [String])
        #expect(
            Set(root).isSubset(of: ["bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"]))
        #expect(said["files"] as? [String] == [])
        #expect((said["processes"] as? Int ?? 99) <= 3)
        #expect(["OSError", "PermissionError"].contains(said["write"] as? String), "\(line)")
        #expect(said["root_write"] as? String == "OSError" || said["root_write"] as? String == "PermissionError", "\(line)")
        #expect(["OSError", "PermissionError"].contains(said["dev_write"] as? String), "\(line)")
        #expect((said["may_write"] as? [String])?.allSatisfy { $0.contains("TextIOWrapper") } == true, "\(line)")
        #expect(said["network"] as? String == "ConnectionRefusedError", "\(line)")
        #expect(said["shadow"] as? String == "FileNotFoundError", "\(line)")
        // Its options, and with them what it was given, are in no argument that others could read.
        let arguments = FileManager.default.contents(atPath: "/proc/\(program.pid)/cmdline") ?? Data()
        #expect(!String(decoding: arguments, as: UTF8.self).contains("a secret"))
        await program.stop()
        #expect(program.hasEnded)
    }

    @Test func `it is spoken to in lines, and ends when its input does`() async throws {
        let heard = Heard()
        let program = try heard.start(["cat"])
        try await program.send(#"{"a":1}"#, within: .seconds(60))
        #expect(await heard.next() == #"{"a":1}"#)
        // More than a socket holds at once.
        let long = String(repeating: "x", count: 3 << 20)
        try await program.send(long, within: .seconds(60))
        #expect(await heard.next() == long)
        await program.stop()
        #expect(program.hasEnded)
        #expect(await heard.next() == nil)
        await #expect(throws: AppError.self) { try await program.send("more", within: .seconds(60)) }
    }

    @Test func `one that does not end by itself is ended, with all that it started`() async throws {
        let heard = Heard()
        let marker = "31\(Int.random(in: 1_000_000...9_999_999))"
        let program = try heard.start(["/bin/sh", "-c", "trap '' TERM HUP; sleep \(marker) & echo ready; sleep \(marker)"])
        #expect(await heard.next() == "ready")
        await program.stop()
        #expect(program.hasEnded)
        #expect(await heard.next() == nil)
        try await eventually("what it started is gone") { !Self.isRunning(marker) }
    }

    private static func isRunning(_ marker: String) -> Bool {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.contains { pid in
            guard Int(pid) != nil, let text = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            return String(decoding: text, as: UTF8.self).hasPrefix("sleep\0\(marker)")
        }
    }

    @Test func `one that cannot be started ends with its reason`() async throws {
        let heard = Heard()
        let program = try heard.start(["/usr/bin/there-is-no-such-program"])
        #expect(await heard.next() == nil)
        #expect(program.lastWords.contains("there-is-no-such-program"), "\(program.lastWords)")
    }

    @Test func `memory and processes are limited, and a line that has no end ends it`() async throws {
        let heard = Heard()
        let greedy = try heard.start(
            ["/usr/bin/python3", "-c", "try:\n  x = bytearray(1 << 30)\nexcept MemoryError:\n  print('no memory')"]
        ) { $0.memoryBytes = 256 << 20 }
        #expect(await heard.next() == "no memory", "\(greedy.lastWords)")
        let forks = Heard()
        let forking = try forks.start(
            [
                "/usr/bin/python3", "-c",
                "import os,time\nn=0\ntry:\n  while n < 500:\n    if os.fork() == 0: time.sleep(600)\n    n += 1\nexcept OSError: pass\nprint(n < 64)",
            ]
        ) { $0.processes = 32 }
        #expect(await forks.next() == "True", "\(forking.lastWords)")
        await forking.stop()
        let endless = Heard()
        let program = try endless.start(["/bin/sh", "-c", "tr '\\0' x < /dev/zero"])
        #expect(await endless.next() == nil)
        #expect(program.hasEnded)
    }

    @Test func `without bubblewrap's parts it is refused with what to do`() throws {
        let configuration = SandboxConfiguration(base: "/nonexistent", libexec: "/nonexistent")
        let error = #expect(throws: AppError.self) {
            try SandboxedProgram.start(ProgramSpec(command: ["true"], environment: [:]), configuration) { _ in
            } onEnd: {
            }
        }
        #expect(error?.message.contains("seccomp.bpf is missing") == true && error?.message.contains("make tools agent") == true)
    }
}
