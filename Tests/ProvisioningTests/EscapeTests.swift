import Core
import Foundation
import Glibc
import Testing

@testable import Provisioning

/// Ways out of the sandbox, each tried as the workload by `Resources/probes.py` and shown blocked.
@Suite(.serialized)
struct EscapeTests {
    static let probes = [
        "leaked_descriptors", "read_agent_token", "write_agent_journal", "see_agent_or_host_processes", "environ_mem_fd_of_pid1",
        "ptrace_pid1", "kill_pid1", "kill_everything_else", "tcp_to_host_loopback", "metadata_and_internet",
        "abstract_unix_socket_of_host", "vsock_packet_alg_raw", "write_read_only_places", "remount_rw", "mount_tmpfs_proc_overlay",
        "new_user_namespace", "setns_pivot_chroot", "setns_own", "device_nodes", "setuid_program", "become_other_uid",
        "give_file_away",
        "keyrings", "dmesg_kmsg", "perf_bpf_uring_uffd", "unknown_new_syscalls", "file_handles", "modules_kexec_reboot_time",
        "tiocsti",
        "tiocsti_high_bits", "proc_sys_writes", "replace_server_socket", "dial_server_socket", "old_mount_under_the_mask",
        "host_identity", "host_environment", "fill_dev_shm", "fill_tmp", "fill_inodes_of_tmp", "fork_bomb", "memory_bomb",
        "capabilities_and_filter",
    ]
    /// Not ways out: what the sandbox must leave alone.
    static let musts = ["works_terminal", "works_compiler_and_git"]
    /// What succeeds outside a sandbox, for a plain user: so the probes can tell.
    static let controls = [
        "tcp_to_host_loopback", "abstract_unix_socket_of_host", "new_user_namespace", "keyrings", "host_identity",
        "kill_everything_else",
        "capabilities_and_filter", "dial_server_socket", "metadata_and_internet", "file_handles",
    ]

    @Test(arguments: Mode.possible, probes)
    func `a way out is blocked`(mode: Mode, probe: String) async throws {
        let finding = try #require(try await ProbeRuns.shared.inside(mode)[probe], "the probe did not run")
        #expect(finding.blocked, "\(probe): \(finding.how)")
    }

    @Test(arguments: Mode.possible, musts)
    func `what a developer needs works`(mode: Mode, probe: String) async throws {
        let finding = try #require(try await ProbeRuns.shared.inside(mode)[probe], "the probe did not run")
        #expect(finding.how == "works", "\(probe): \(finding.how)")
    }

    @Test(arguments: controls)
    func `outside a sandbox the same door is open`(probe: String) async throws {
        let finding = try #require(try await ProbeRuns.shared.outside()[probe], "the probe did not run")
        #expect(!finding.blocked && !finding.how.hasPrefix("the probe"), "\(probe): \(finding.how)")
    }

    /// Found open once: the child of the zone could be robbed between fork and exec.
    @Test(arguments: Mode.possible)
    func `a command that is just starting has nothing of the zone's to take`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            _ = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            let thief = try String(contentsOfFile: TestHost.resource("thief.py"), encoding: .utf8)
            #expect(try agent.start(["/usr/bin/python3", "-c", thief], id: "thief").error == 0)
            while try agent.status("thief").total == 0 { _ = try agent.receive() }
            // Until it has had a thousand looks or so: the hole of the time showed within ten.
            for _ in 0..<400 { #expect(try agent.run(["/bin/true"]).status.exited == 0) }
            #expect(try agent.run(["/usr/bin/touch", "stop"]).status.exited == 0)
            #expect(try agent.waitForEnd("thief").exited == 0)
            let words = String(decoding: try agent.ring("thief").bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            #expect(try #require(Int(words[1])) > 100, "\(words)")
            #expect(words.dropFirst(2).joined() == "[]", "\(words)")
        }
    }

    @Test func `every probe of the script is a test`() throws {
        let script = try String(contentsOfFile: TestHost.resource("probes.py"), encoding: .utf8)
        let written = script.matches(of: /@probe\ndef (\w+)\(/).map { String($0.1) }
        #expect(Set(written) == Set(Self.probes + Self.musts))
        #expect(Self.probes.count >= 42)
    }
}

struct Finding: Decodable, Sendable {
    var name: String
    var blocked: Bool
    var how: String
}

/// The probes' results: one run per mode, shared by all tests.
actor ProbeRuns {
    static let shared = ProbeRuns()
    private var runs: [String: Task<[String: Finding], any Error>] = [:]

    func inside(_ mode: Mode) async throws -> [String: Finding] {
        try await once(mode.rawValue) {
            try await TestHost.with(mode) { host in
                let server = try StandInServer(host.configuration)
                defer { server.close() }
                let spec = TestHost.spec()
                _ = try await host.sandbox.start(spec)
                let agent = try server.accept()
                let facts = try Facts(socket: server.path, spec: spec)
                let script = try String(contentsOfFile: TestHost.resource("probes.py"), encoding: .utf8)
                let done = try agent.run(["/usr/bin/python3", "-I", "-c", script, facts.json()])
                try #require(done.status.exited == 0, "\(done.status) \(done.output)")
                return Self.parse(done.output)
            }
        }
    }

    func outside() async throws -> [String: Finding] {
        try await once("outside") {
            let configuration = try TestHost.configuration(.user)
            try FileManager.default.createDirectory(atPath: configuration.socketDirectory, withIntermediateDirectories: true)
            let server = try StandInServer(configuration)
            defer { server.close() }
            let facts = try Facts(socket: server.path, spec: TestHost.spec(), only: EscapeTests.controls)
            var words = ["/usr/bin/python3", "-I", TestHost.resource("probes.py"), try facts.json()]
            if geteuid() == 0 { words = ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] + words }
            // The script may lie where nobody cannot go.
            let copy = "\(configuration.base)/probes.py"
            try FileManager.default.copyItem(atPath: TestHost.resource("probes.py"), toPath: copy)
            chmod(copy, 0o644)
            words = words.map { $0 == TestHost.resource("probes.py") ? copy : $0 }
            let process = Process(), output = Pipe()
            process.executableURL = URL(fileURLWithPath: words[0])
            process.arguments = Array(words.dropFirst())
            process.currentDirectoryURL = URL(fileURLWithPath: "/")
            process.standardOutput = output
            try process.run()
            let data = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            try? FileManager.default.removeItem(atPath: configuration.base)
            return Self.parse(String(decoding: data, as: UTF8.self))
        }
    }

    private func once(_ name: String, _ body: @escaping @Sendable () async throws -> [String: Finding]) async throws -> [String:
        Finding]
    {
        // Awaited by every test that asks; kept for the next.
        let run = runs[name] ?? Task { try await body() }
        runs[name] = run
        return try await run.value
    }

    private static func parse(_ output: String) -> [String: Finding] {
        let findings = output.split(separator: "\n").compactMap { try? JSONDecoder().decode(Finding.self, from: Data($0.utf8)) }
        return Dictionary(findings.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }
}

/// What the probes are told about the host, with listeners that are there to be reached.
private final class Facts {
    private let tcp: Int32
    private let abstract: Int32
    private let values: [String: Any]

    init(socket path: String, spec: SandboxSpec, only: [String]? = nil) throws {
        let tcp = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var any = sockaddr_in()
        any.sin_family = sa_family_t(AF_INET)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &any) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(tcp, $0, size)
                _ = getsockname(tcp, $0, &size)
            }
        }
        let abstract = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let name = "slipway-probe-\(getpid())-\(path.hashValue)"
        var hidden = sockaddr_un()
        hidden.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &hidden.sun_path) { $0[1...].copyBytes(from: Array(name.utf8)) }
        withUnsafePointer(to: &hidden) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = bind(abstract, $0, socklen_t(3 + name.utf8.count)) }
        }
        try #require(listen(tcp, 16) == 0 && listen(abstract, 16) == 0)

        func content(_ path: String) -> String {
            (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
        }
        let secrets =
            ["/etc/machine-id", "/proc/cmdline", "/proc/sys/kernel/hostname"].map { [$0, content($0)] } + [
                ["/etc/passwd", "root:x:0"]
            ]
        var values: [String: Any] = [
            "host_pid": Int(getpid()), "tcp_port": Int(UInt16(bigEndian: any.sin_port)), "abstract": name, "host_socket": path,
            "agent_uid": 1_900_000_000 + 2 * spec.number, "secrets": secrets,
        ]
        if let only { values["only"] = only }
        (self.tcp, self.abstract, self.values) = (tcp, abstract, values)
    }

    deinit {
        close(tcp)
        close(abstract)
    }

    func json() throws -> String { String(decoding: try JSONSerialization.data(withJSONObject: values), as: UTF8.self) }
}
