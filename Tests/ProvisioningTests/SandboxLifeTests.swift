import Core
import Foundation
import Glibc
import Testing

@testable import Provisioning

/// A sandbox from its start to its removal, and past the end of the server that started it.
@Suite(.serialized)
struct SandboxLifeTests {
    @Test(arguments: Mode.possible)
    func `a started sandbox runs commands as its workload`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let spec = TestHost.spec()
            let record = try await host.sandbox.start(spec)
            let agent = try server.accept()
            #expect(agent.hello["uid"] == (mode == .root ? "999" : "1000"))
            #expect(agent.hello["workspace"] == spec.workspace.description)
            #expect(agent.hello["sandbox"] == record.sandboxID)
            #expect(agent.hello["token"] == spec.token.reveal())
            let done = try agent.shell("id -un; id -u; pwd; echo $HOME; echo problem >&2; exit 7")
            #expect(done.output == "work\n1000\n/home/work\n/home/work\nproblem\n")
            #expect(done.status.exited == 7)
            #expect(record.isolation.uids.hasPrefix(mode == .root ? "own (19" : "shared with the server"))
            #expect(host.sandbox.isAlive(record))
        }
    }

    @Test(arguments: Mode.possible)
    func `tools outside of usr are shown, found and cannot be changed`(mode: Mode) async throws {
        let parent = try TestHost.makeDirectory("tools")
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let tools = "\(parent)/kit"
        try FileManager.default.createDirectory(atPath: "\(tools)/bin", withIntermediateDirectories: true)
        try "#!/bin/sh\necho from the kit\n".write(toFile: "\(tools)/bin/kit", atomically: false, encoding: .utf8)
        chmod("\(tools)/bin/kit", 0o755)
        // As a toolchain in root's home: only root can go there, and the sandbox sees that one directory.
        if mode == .root { chmod(parent, 0o700) }
        try "secret".write(toFile: "\(parent)/beside", atomically: false, encoding: .utf8)
        try await TestHost.with(mode, tools: [tools]) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            _ = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            #expect(try agent.shell("kit").output == "from the kit\n")
            #expect(try agent.shell("ls \(parent)").output == "kit\n")
            #expect(try agent.shell("touch \(tools)/x 2>&1").output.contains("Read-only file system"))
        }
    }

    @Test(arguments: ["opt/swift", "/no/such/directory", "/etc", "/", "/opt/../etc", "/etc/passwd"])
    func `what cannot be shown in workspaces is refused`(path: String) async {
        await expectError(.badRequest, "cannot be shown in workspaces") {
            var configuration = SandboxConfiguration(base: "/tmp", libexec: "/tmp")
            try configuration.show(tools: [path])
        }
    }

    @Test(arguments: Mode.possible)
    func `one workspace has one sandbox, and a place has one workspace`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let spec = TestHost.spec()
            let record = try await host.sandbox.start(spec)
            await expectError(.conflict, "running already") { _ = try await host.sandbox.start(spec) }
            await expectError(.conflict, "while its sandbox runs") {
                try await host.sandbox.remove(workspace: spec.workspace, number: spec.number)
            }
            try await host.sandbox.kill(record)
            var other = spec
            other.workspace = WorkspaceID()
            await expectError(.conflict, "belongs to another workspace") { _ = try await host.sandbox.start(other) }
            await expectError(.conflict, "belongs to another") {
                try await host.sandbox.remove(workspace: other.workspace, number: spec.number)
            }
        }
    }

    @Test(arguments: Mode.possible)
    func `the home outlives the sandbox and goes with the workspace`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let spec = TestHost.spec()
            let first = try await host.sandbox.start(spec)
            // What is hard to delete: no rights, links to elsewhere, a tree deeper than there are descriptors.
            let before = try server.accept()
            let made = try before.shell(
                """
                echo kept > note; mkdir -p shut/in; chmod 0 shut; ln -s /etc/passwd link; ln -s / root; mkfifo pipe
                python3 -c '
                import os
                for i in range(3000): os.mkdir("d"); os.chdir("d")
                '; test -d d/d
                """)
            #expect(made.status.exited == 0, "\(made)")
            try await host.sandbox.kill(first)
            before.close()  // not sooner: the agent would dial again
            #expect(!host.sandbox.isAlive(first))

            let second = try await host.sandbox.start(spec)
            #expect(second.sandboxID != first.sandboxID)
            let agent = try server.accept()
            #expect(try agent.shell("cat note; stat -c %U note").output == "kept\nwork\n")
            let passwd = try String(contentsOfFile: "/etc/passwd", encoding: .utf8)
            try await host.sandbox.kill(second)
            try await host.sandbox.remove(workspace: spec.workspace, number: spec.number)
            #expect(!FileManager.default.fileExists(atPath: "\(host.configuration.base)/ws/\(spec.number)"))
            #expect(try String(contentsOfFile: "/etc/passwd", encoding: .utf8) == passwd)
            try await host.sandbox.remove(workspace: spec.workspace, number: spec.number)  // again: nothing to do
        }
    }

    @Test(arguments: Mode.possible)
    func `a sandbox outlives its server and is adopted by the next`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration, name: "first")
            let spec = TestHost.spec()
            let record = try await host.sandbox.start(spec)
            let before = try server.accept()
            #expect(try before.start(["/bin/sleep", "1000"], id: "sleeper1").error == 0)
            host.sandbox.close()
            server.close()
            before.close()

            let next = try await LocalSandbox.open(host.configuration, logger: TestHost.logger)
            let nextServer = try StandInServer(host.configuration, name: "second")
            defer { nextServer.close() }
            #expect(await next.adopt(record))
            #expect(try await next.running(workspace: spec.workspace, number: spec.number)?.childPID == record.childPID)
            var another = record
            another.startTime += 1
            #expect(await !next.adopt(another), "another process with that number")
            another = record
            another.bootID = "00000000-0000-0000-0000-000000000000"
            #expect(await !next.adopt(another), "from before the host's last boot")

            let after = try nextServer.accept()
            #expect(after.hello["pid"] == before.hello["pid"], "the agent itself lived on")
            #expect(try after.status("sleeper1").state == 1)
            async let death = next.onDeath(record)
            try await next.kill(record)
            #expect(await death.cause == .stopped)
            #expect(await !next.adopt(record))
            #expect(try await next.running(workspace: spec.workspace, number: spec.number) == nil)
            try await next.kill(record)  // not an error
            next.close()
        }
    }

    @Test(arguments: Mode.possible)
    func `the death of a sandbox is told, whoever killed it`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let record = try await host.sandbox.start(TestHost.spec())
            async let death = host.sandbox.onDeath(record)
            #expect(Glibc.kill(record.childPID, SIGKILL) == 0)
            #expect(await death.cause == .ended)
            #expect(await host.sandbox.onDeath(record).cause == .ended, "told again to who asks later")
        }
    }

    @Test(arguments: Mode.possible)
    func `an agent that dies is started again and its commands are untouched`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec())
            let first = try server.accept()
            let line = "for i in $(seq 1000000); do echo $i; read -t 0.01 x < <(:); done"
            #expect(try first.start(["/bin/bash", "-c", line], id: "counting").error == 0)
            try first.send(0x7100, id: "")  // kill -9 yourself
            let second = try server.accept()
            #expect(second.hello["start"] == "2")
            #expect(second.hello["sandbox"] == first.hello["sandbox"])
            #expect(try second.status("counting").state == 1)
            let total = try second.status("counting").total
            while try second.status("counting").total == total { _ = try second.receive() }
            #expect(host.sandbox.isAlive(record))
        }
    }

    @Test(arguments: Mode.possible)
    func `a frozen sandbox stands still`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            #expect(try agent.start(["/bin/bash", "-c", "while :; do :; done"], id: "spinning").error == 0)
            try await host.sandbox.freeze(record)
            // Used processor time does not grow, in any process of the sandbox.
            let before = ticks(of: record)
            let deadline = ContinuousClock.now + .milliseconds(200)
            while ContinuousClock.now < deadline { sched_yield() }
            #expect(ticks(of: record) == before)
            try await host.sandbox.thaw(record)
            while ticks(of: record) <= before { sched_yield() }
            #expect(try agent.shell("echo awake").output == "awake\n")
        }
    }

    @Test(arguments: Mode.possible)
    func `nothing of a killed sandbox is left`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let record = try await host.sandbox.start(TestHost.spec())
            let agent = try server.accept()
            _ = try agent.shell(
                "for i in 1 2 3; do (setsid sleep 1000 >/dev/null 2>&1 &) ; done; nohup sleep 1000 >/dev/null 2>&1 & disown")
            let members = family(of: record.childPID)
            #expect(members.count >= 7, "keeper, zone, agent and the sleepers")
            try await host.sandbox.kill(record)
            #expect(members.filter { kill($0, 0) == 0 && HostProcess.startTime(of: $0) != nil && !isZombie($0) } == [])
            let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
            #expect(!mounts.contains(host.configuration.base), "no mount of it was ever the host's")
        }
    }

    @Test(arguments: Mode.possible)
    func `a removal that was cut short is finished by the next launcher`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let half = "\(host.configuration.base)/ws/77.gone"
            // Made elsewhere: whoever removes such folders may do so at once.
            let made = "\(host.configuration.base)/half"
            try FileManager.default.createDirectory(atPath: "\(made)/upper/a/b", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: "\(host.configuration.base)/ws", withIntermediateDirectories: true)
            if geteuid() == 0 { for path in ["", "/upper", "/upper/a", "/upper/a/b"] { chown(made + path, 65534, 65534) } }
            try FileManager.default.moveItem(atPath: made, toPath: half)
            let next = try await LocalSandbox.open(host.configuration, logger: TestHost.logger)
            let deadline = ContinuousClock.now + .seconds(20)
            while FileManager.default.fileExists(atPath: half), ContinuousClock.now < deadline { sched_yield() }
            #expect(!FileManager.default.fileExists(atPath: half))
            next.close()
        }
    }

    // MARK: Helpers

    private func family(of pid: pid_t) -> [pid_t] {
        let children = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
        return [pid] + children.split(separator: " ").compactMap { pid_t($0) }.flatMap { family(of: $0) }
    }

    private func fields(_ pid: pid_t) -> [Substring] {
        let stat = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
        return stat.lastIndex(of: ")").map { stat[stat.index(after: $0)...].split(separator: " ") } ?? []
    }

    private func isZombie(_ pid: pid_t) -> Bool { fields(pid).first.map { "ZX".contains($0) } ?? true }

    private func ticks(of record: SandboxRecord) -> Int {
        family(of: record.childPID).dropFirst().reduce(0) { sum, pid in
            let fields = fields(pid)
            return fields.count > 12 ? sum + (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : sum
        }
    }
}

/// Expects an `AppError` of a code whose message has these words.
func expectError(
    _ code: AppError.Code, _ words: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as AppError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.message.contains(words), "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record(error, sourceLocation: sourceLocation)
    }
}
