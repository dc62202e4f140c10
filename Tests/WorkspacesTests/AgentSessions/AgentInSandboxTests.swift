import AgentProtocol
import Core
import Foundation
import Provisioning
import Testing
import Workspaces

/// The static agent in the real sandbox: launcher, keeper, zone, two bubblewraps.
@Suite(.serialized) struct AgentInSandboxTests {
    private struct Running {
        let sandbox: LocalSandbox
        let sessions: AgentSessions
        let workspace: WorkspaceID
        let number: Int
        let token: String

        func start() async throws -> SandboxRecord {
            try await sandbox.start(SandboxSpec(workspace: workspace, number: number, token: Secret(token)))
        }

        func agent() async throws -> AgentConnection { try await sessions.connection(for: workspace, within: .seconds(20)) }
    }

    private func withSandbox(_ body: (Running, SandboxRecord) async throws -> Void) async throws {
        let base = "/tmp/swb-" + String(UInt64.random(in: 0...(.max)), radix: 36)
        let sandbox = try await LocalSandbox.open(
            SandboxConfiguration(base: base, libexec: try AgentHarness.libexec.get()), logger: .test)
        let running = Running(
            sandbox: sandbox, sessions: AgentSessions(logger: .test), workspace: WorkspaceID(),
            number: Int.random(in: 20_000...60_000),
            token: UUID().uuidString)
        let listener = AgentListener(
            socketPath: sandbox.configuration.socketDirectory + "/t.sock", sessions: running.sessions, logger: .test
        ) { $0.reveal() == running.token ? running.workspace : nil }
        let record = try await running.start()
        try await listener.start()
        func end() async throws {
            if let last = try await sandbox.running(workspace: running.workspace, number: running.number) {
                try await sandbox.kill(last)
            }
            try await sandbox.remove(workspace: running.workspace, number: running.number)
            await listener.close()
            sandbox.close()
            try? FileManager.default.removeItem(atPath: base)
        }
        do { try await body(running, record) } catch {
            try? await end()
            throw error
        }
        try await end()
    }

    /// The agent as the host numbers it: a descendant of the sandbox's first process.
    private func agentPID(_ record: SandboxRecord) throws -> pid_t {
        var looked = [record.childPID]
        while let pid = looked.popLast() {
            let command = (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
            if command == "/opt/slipway/agent\0" { return pid }
            let children = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)) ?? ""
            looked += children.split(separator: " ").compactMap { pid_t($0) }
        }
        throw AppError(.notFound, "no agent below \(record.childPID)")
    }

    @Test func `commands and file work are the workload's, and what is the agent's cannot be reached`() async throws {
        try await withSandbox { running, record in
            let agent = try await running.agent()
            #expect(agent.sandbox == record.sandboxID)
            let identity = try await agent.sh("id -u; pwd; echo $HOME")
            #expect(identity.text == "1000\n/home/work\n/home/work\n")
            try await agent.writeFile("src/a.txt", Data("hello\n".utf8), call: "w", fence: 1)
            #expect(try await agent.sh("stat -c '%u %a' src/a.txt; cat src/a.txt; ls -A src").text == "1000 644\nhello\na.txt\n")
            #expect(try await agent.readFile("/home/work/src/a.txt").data == Data("hello\n".utf8))
            for secret in [
                "/run/slipway/token", "/run/slipway/agent/journal", "/run/slipway/sock/t.sock", "../../run/slipway/token",
            ] {
                let refusal = await #expect(throws: AppError.self) { try await agent.readFile(secret) }
                #expect(refusal?.code == .notFound, "\(secret)")
            }
            _ = try await agent.sh("ln -s /run/slipway/token token; ln -s /etc/shadow shadow")
            for link in ["token", "shadow"] {
                let refusal = await #expect(throws: AppError.self) { try await agent.readFile(link) }
                #expect(refusal?.code == .notFound || refusal?.code == .forbidden, "\(link)")
            }
            let write = await #expect(throws: AppError.self) {
                try await agent.writeFile("/usr/bin/evil", Data(), call: "evil", fence: 1)
            }
            #expect(write?.code == .forbidden)
        }
    }

    @Test func `the agent is killed and comes back, and nothing in the workspace notices`() async throws {
        try await withSandbox { running, record in
            let agent = try await running.agent()
            _ = try await agent.sh("mkfifo gate")
            _ = try await agent.start(ProcessStart(id: "long", fence: 3, shell: "echo one; read x < gate; echo two; exit 9"))
            let first = try await agent.output("long", wait: .seconds(20))
            kill(try agentPID(record), SIGKILL)
            await agent.waitUntilClosed()
            let next = try await running.agent()
            #expect(next.sandbox == agent.sandbox)
            #expect(try await next.status().start == 2)
            #expect(try await next.status().fences["workspace"] == 3)
            _ = try await next.sh("echo go > gate", fence: 3)
            let end = try await next.output("long", from: .cursor(first.cursor), wait: .seconds(20), until: .exit)
            #expect(String(decoding: end.data, as: UTF8.self) == "two\n")
            #expect(end.status.state == .exited(9))
        }
    }

    @Test func `the workload kills all it can, and files and commands still work`() async throws {
        try await withSandbox { running, _ in
            let agent = try await running.agent()
            _ = try await agent.list()  // there is an idle file worker
            #expect(try await agent.sh("kill -9 -1; echo alone").text == "alone\n")  // whoever sends it is spared
            try await agent.writeFile("f", Data("still here".utf8), call: "w", fence: 1)
            #expect(try await agent.sh("cat f").text == "still here")
            #expect(try await agent.status().start == 1)
        }
    }

    @Test func `a killed sandbox leaves its open command unknown and its home as it was`() async throws {
        try await withSandbox { running, record in
            let agent = try await running.agent()
            let start = ProcessStart(id: "half", fence: 1, shell: "echo x >> count; echo begun; sleep 600")
            _ = try await agent.start(start)
            _ = try await agent.output("half", wait: .seconds(20))
            try await running.sandbox.kill(record)
            await agent.waitUntilClosed()
            let again = try await running.start()
            let next = try await running.agent()
            #expect(next.sandbox == again.sandboxID)
            #expect(try await next.start(start).state == .unknown)
            #expect(try await next.readFile("count").data == Data("x\n".utf8))
        }
    }
}
