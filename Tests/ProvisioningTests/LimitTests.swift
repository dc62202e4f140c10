import Core
import Foundation
import Glibc
import Testing

@testable import Provisioning

/// What a sandbox may use, by whom it is held to it, and what happens when it takes more.
@Suite(.serialized)
struct LimitTests {
    @Test(arguments: Mode.possible)
    func `a command that eats memory dies alone`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec(limits: .init(memoryBytes: 256 << 20)))
            let agent = try server.accept()
            let eater = try agent.run(["/usr/bin/python3", "-c", "x = bytearray(b'x') * (3 << 30)"])
            #expect(eater.status.exited != 0)
            if record.isolation.limitsMemory { #expect(eater.status.killedBy == 9) }
            #expect(record.isolation.limitsMemory == (mode == .root), "\(record.isolation)")
            let scores = try agent.shell("cat /proc/self/oom_score_adj /proc/1/oom_score_adj").output
            #expect(scores == "500\n0\n", "a command goes before the zone")
            #expect(agent.hello["start"] == "1")
        }
    }

    @Test(arguments: Mode.possible)
    func `in a fork bomb a new command still starts`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            let bomb = """
                import os, signal, sys
                full = False
                while True:
                    try:
                        if os.fork() == 0: signal.pause()
                    except OSError:
                        if not full: print("full", flush=True)
                        full = True
                        signal.sigtimedwait([signal.SIGUSR1], 0.01)
                """
            #expect(try agent.start(["/usr/bin/python3", "-c", bomb], id: "bomb").error == 0)
            while try agent.status("bomb").total == 0 { _ = try agent.receive() }
            // The workload's own limit is full; the zone's commands are counted with it, so only a lighter one may pass.
            let next = try agent.start(["/bin/echo", "here"], id: "next")
            #expect(next.error == 0 || next.error == EAGAIN)
            #expect(host.sandbox.isAlive(record))
            let reached = try agent.ask(3, id: "bomb", UInt32(9).bytes + UInt32(2).bytes).payload
            #expect(reached.integer(0) as Int32 == 0)
            #expect(reached.integer(4) as UInt32 > 100, "the whole session is reached")
            #expect(try agent.shell("echo over").output == "over\n")
            try await host.sandbox.kill(record)
        }
    }

    @Test(arguments: Mode.possible)
    func `one workspace's fork bomb is not another's`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            _ = try await host.sandbox.start(TestHost.spec())
            let crowded = try server.accept()
            let crowd =
                "import os, signal\ntry:\n  while True:\n    if os.fork() == 0: signal.pause()\nexcept OSError: print('full', flush=True)\nsignal.pause()"
            #expect(try crowded.start(["/usr/bin/python3", "-c", crowd], id: "crowd").error == 0)
            while try crowded.status("crowd").total == 0 { _ = try crowded.receive() }

            _ = try await host.sandbox.start(TestHost.spec())
            let other = try server.accept()
            let done = try other.shell("for i in $(seq 200); do sleep 1000 & done 2>&1; jobs -r | wc -l; kill $(jobs -p)")
            #expect(done.output == "200\n")
        }
    }

    @Test(arguments: Mode.possible)
    func `usage is measured and too much on disk ends the sandbox with the reason`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let limits = SandboxLimits(memoryBytes: 1 << 30, diskBytes: 64 << 20)
            let record = try await host.sandbox.start(TestHost.spec(limits: limits))
            let agent = try server.accept()
            #expect(try agent.shell("head -c 20M /dev/zero > a").status.exited == 0)
            let usage = try await host.sandbox.usage(record)
            #expect((20 << 20..<30 << 20).contains(usage.diskBytes))
            #expect(usage.processes >= 3 && usage.memoryBytes > 0)
            await host.sandbox.inspect()
            #expect(host.sandbox.isAlive(record))

            #expect(try agent.shell("head -c 60M /dev/zero > b").status.exited == 0)
            async let death = host.sandbox.onDeath(record)
            await host.sandbox.inspect()
            let told = await death
            #expect(told.cause == .disk)
            #expect(told.message.contains("more than the 64 MiB it may use"), "\(told.message)")
        }
    }

    @Test(arguments: Mode.possible)
    func `a tree too deep to measure counts as too much`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            let dig = "import os\nfor i in range(1200): os.mkdir('d'); os.chdir('d')"
            #expect(try agent.run(["/usr/bin/python3", "-c", dig]).status.exited == 0)
            #expect(try await host.sandbox.usage(record).diskBytes == .max)
            await host.sandbox.inspect()
            #expect(await host.sandbox.onDeath(record).cause == .disk)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "a memory group needs root"))
    func `new limits hold for a running sandbox`() async throws {
        try await TestHost.with(.root) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec(limits: .init(memoryBytes: 1 << 30)))
            let agent = try server.accept()
            let eat = ["/usr/bin/python3", "-c", "x = bytearray(b'x') * (400 << 20)"]
            #expect(try agent.run(eat).status.exited == 0)
            try await host.sandbox.setLimits(record, .init(memoryBytes: 200 << 20))
            #expect(try agent.run(eat).status.killedBy == 9)
            await expectError(.badRequest, "memory is 1 bytes") { try await host.sandbox.setLimits(record, .init(memoryBytes: 1)) }
        }
    }

    @Test func `with too little room on the disk nothing is started`() async throws {
        try await TestHost.with(Mode.possible[0]) { host in
            var configuration = host.configuration
            configuration.freeSpaceFloor = 1 << 60
            let full = try await LocalSandbox.open(configuration, logger: TestHost.logger)
            defer { full.close() }
            await expectError(.unavailable, "free where workspaces live; 1024 PiB must be") {
                _ = try await full.start(TestHost.spec())
            }
            #expect(!FileManager.default.fileExists(atPath: "\(configuration.base)/ws/1"))
        }
    }

    /// A machine with cgroup v2 alone, as far as files go: this kernel's controllers may all be version 1's.
    @Test(.enabled(if: geteuid() == 0, "groups need root"))
    func `version 2 limits are written as the kernel documents them`() async throws {
        var configuration = try TestHost.configuration(.root)
        let tree = try TestHost.makeDirectory("cgroup")
        defer { try? FileManager.default.removeItem(atPath: tree) }
        configuration.cgroups = tree
        let spec = TestHost.spec(
            limits: .init(memoryBytes: 512 << 20, processes: 100, cpuPercent: 150))
        var base = stat()
        try #require(stat(configuration.base, &base) == 0)
        let own = "\(tree)/slipway/\(String(base.st_ino, radix: 16))-ws-\(spec.number)"
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
        func make(_ path: String, _ content: String = "") throws {
            try content.write(toFile: path, atomically: false, encoding: .utf8)
        }
        try make("\(tree)/cgroup.controllers", "cpu memory pids\n")
        for file in ["cgroup.procs", "cgroup.subtree_control"] { try make("\(tree)/\(file)") }
        try make("\(tree)/slipway/cgroup.subtree_control")
        let files = [
            "memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cgroup.procs", "cgroup.kill",
            "cgroup.freeze",
        ]
        for file in files { try make("\(own)/\(file)") }

        let sandbox = try await LocalSandbox.open(configuration, logger: TestHost.logger)
        defer { sandbox.close() }
        let record = try await sandbox.start(spec)
        #expect(
            record.isolation.memory == "cgroup v2" && record.isolation.processes == "cgroup v2"
                && record.isolation.cpu == "cgroup v2")
        let written = try Dictionary(
            uniqueKeysWithValues: files.map { ($0, try String(contentsOfFile: "\(own)/\($0)", encoding: .utf8)) })
        #expect(written["memory.max"] == "536870912")
        #expect(written["memory.swap.max"] == "0" && written["memory.oom.group"] == "0")
        #expect(written["pids.max"] == "100")
        #expect(written["cpu.max"] == "150000 100000")
        #expect(written["cgroup.procs"] == "0", "the sandbox moved itself in")
        #expect(try String(contentsOfFile: "\(tree)/slipway/cgroup.subtree_control", encoding: .utf8) == "+cpu")
        try await sandbox.kill(record)
        try await sandbox.remove(workspace: spec.workspace, number: spec.number)
        try FileManager.default.removeItem(atPath: configuration.base)
    }

    @Test func `a watchdog stops only what passes a limit nobody else holds`() {
        let limits = SandboxLimits(memoryBytes: 100, processes: 50, diskBytes: 1000)
        func verdict(memory: UInt64 = 0, disk: UInt64 = 0, kernel: Bool = false) -> SandboxDeath.Cause? {
            Watchdog.verdict(
                on: SandboxUsage(memoryBytes: memory, processes: 1, diskBytes: disk, files: 1), limits: limits, limitsMemory: kernel
            )?.0
        }
        #expect(verdict(memory: 100, disk: 1000) == nil)
        #expect(verdict(memory: 101) == .memory)
        #expect(verdict(memory: 101, kernel: true) == nil)
        #expect(verdict(disk: 1001, kernel: true) == .disk)
        #expect(verdict(disk: .max) == .disk)
        #expect(Watchdog.words(1536 << 20) == "1.5 GiB" && Watchdog.words(900) == "900 bytes")
    }
}
