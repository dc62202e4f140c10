import AgentProtocol
import Core
import Foundation
import NIOCore
import TestSupport
import Testing
import Workspaces

@testable import AgentRuntime

@Suite(.serialized) struct AgentFaultTests {
    /// Calls until the agent answers, across its deaths. Only what says "now" or "after" is asked again.
    private func persist<Value: Sendable>(
        _ harness: AgentHarness, _ server: AgentHarness.Server, _ body: @Sendable (AgentConnection) async throws -> Value
    ) async throws -> Value {
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(60)
        while true {
            do {
                return try await body(try await server.sessions.connection(for: harness.workspace, within: .seconds(20)))
            } catch let error as AppError where error.retry != .never && clock.now < deadline {}
        }
    }

    @Test func `while the agent is killed again and again every command runs exactly once`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let storm = Task {
                    for _ in 0..<12 {
                        // A killer that waits for progress, not for time.
                        let before = (try? harness.text("log").count) ?? 0
                        do {
                            try await eventually("the commands go on") { ((try? harness.text("log").count) ?? 0) >= before + 60 }
                        } catch is CancellationError { return }
                        harness.killAgent()
                        try harness.startAgent()
                    }
                }
                try await withThrowingTaskGroup { group in
                    for lane in 0..<4 {
                        group.addTask {
                            for number in 0..<75 {
                                let id = "\(lane).\(number)"
                                let start = ProcessStart(id: id, fence: 1, shell: "echo \(id) >> log; echo out \(id)")
                                let output = try await persist(harness, server) { agent in
                                    _ = try await agent.start(start)
                                    return try await agent.output(id, wait: .seconds(20), until: .exit)
                                }
                                #expect(output.status.state == .exited(0))
                                #expect(String(decoding: output.data, as: UTF8.self) == "out \(id)\n")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                storm.cancel()
                try await storm.value
                let ran = try harness.text("log").split(separator: "\n").map(String.init)
                #expect(ran.count == 300)
                #expect(Set(ran).count == 300)
                let status = try await persist(harness, server) { try await $0.status() }
                #expect(status.start > 3, "the agent was killed only \(status.start - 1) times")
            }
        }
    }

    @Test func `a command of an earlier sandbox without a result is unknown and never begun again`() async throws {
        try await AgentHarness.with { harness in
            let start = ProcessStart(id: "half-done", fence: 1, shell: "echo x >> count; echo begun; sleep 600")
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.sh("exit 7", id: "ended")
                _ = try await agent.start(start)
                _ = try await agent.output("half-done", wait: .seconds(20))
                harness.killAgent()
                harness.killZone()
                try harness.startZone()
                try harness.startAgent()
                await agent.waitUntilClosed()

                let next = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                #expect(next.sandbox != agent.sandbox)
                #expect(try await next.start(start).state == .unknown)
                let output = try await next.output("half-done", wait: .seconds(5), until: .exit)
                #expect(output.status.state == .unknown)
                #expect(try await next.output("ended").status.state == .exited(7))
                #expect(try harness.text("count") == "x\n")
            }
        }
    }

    @Test func `a command runs on while server and agent are gone, and its output is read on at the cursor`() async throws {
        try await AgentHarness.with { harness in
            var text = ""
            var cursor: Int64 = 0
            try await harness.withServer(name: "first") { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.sh("mkfifo first second")
                _ = try await agent.start(
                    ProcessStart(
                        id: "long", fence: 1, shell: "echo one; read x < first; echo two; read x < second; echo three; exit 5"))
                let piece = try await agent.output("long", wait: .seconds(20))
                text += String(decoding: piece.data, as: UTF8.self)
                cursor = piece.cursor
            }
            try harness.put("", "unrelated")
            // Nobody is connected: it goes on by itself.
            try open("first", harness)
            harness.killAgent()
            try open("second", harness)
            try harness.startAgent()
            try await harness.withServer(name: "second") { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                let end = try await agent.output("long", from: .cursor(cursor), wait: .seconds(20), until: .exit)
                text += String(decoding: end.data, as: UTF8.self)
                #expect(end.truncatedBefore == 0)
                #expect(end.status.state == .exited(5))
            }
            #expect(text == "one\ntwo\nthree\n")
        }
    }

    /// Returns when a reader took the line.
    ///
    /// - Parameter gate: one for each line: a reader that comes back to the same one before its writer has closed it reads an end.
    private func open(_ gate: String, _ harness: AgentHarness) throws {
        let gate = try FileHandle(forWritingTo: URL(fileURLWithPath: harness.home + "/" + gate))
        try gate.write(contentsOf: Data("go\n".utf8))
        try gate.close()
    }

    @Test func `a lower fence is refused with the present one, for every effect, and after a restart`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.start(ProcessStart(id: "sleeper", fence: Fence(7, scope: "task"), shell: "sleep 600"))
                let old = Fence(6, scope: "task")
                func expectStale(_ agent: AgentConnection, _ body: (AgentConnection) async throws -> Void) async {
                    let refusal = await #expect(throws: AppError.self) { try await body(agent) }
                    #expect(refusal?.code == .conflict)
                    #expect(refusal?.field == "fence")
                    #expect((refusal?.cause as? AgentFailure)?.fence == Fence(7, scope: "task"))
                }
                func expectAllStale(_ agent: AgentConnection) async {
                    await expectStale(agent) { _ = try await $0.start(ProcessStart(id: "late", fence: old, shell: "touch late")) }
                    await expectStale(agent) { try await $0.writeFile("late", Data("x".utf8), call: "late-write", fence: old) }
                    await expectStale(agent) { try await $0.signal("sleeper", SIGKILL, fence: old) }
                    await expectStale(agent) { try await $0.adopt(old) }
                }
                await expectAllStale(agent)
                harness.killAgent()
                try harness.startAgent()
                await agent.waitUntilClosed()
                let next = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                await expectAllStale(next)
                #expect(!FileManager.default.fileExists(atPath: harness.home + "/late"))
                #expect(try await next.output("sleeper").status.state == .running)
                // Another scope knows nothing of it, and a repetition under the old fence is answered.
                #expect(try await next.sh("echo other", fence: Fence(1, scope: "other")).text == "other\n")
                #expect(try await next.start(ProcessStart(id: "sleeper", fence: old, shell: "sleep 600")).state == .running)
            }
        }
    }

    @Test func `a write whose end is not known counts as done if its content is in place, and else as unknown`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            // What an agent leaves that is killed between its journal and the worker's answer.
            func line(_ number: Int, _ call: String, _ path: String, _ text: String) -> String {
                var digest = Digest()
                digest.add(path)
                Array(text.utf8).withUnsafeBytes { digest.add($0) }
                return "start \(number) \(call) write workspace 1 \(String(digest.value, radix: 16)) 5\n"
            }
            let journal = "boot \(harness.sandbox)\n" + line(1, "done", "a", "new") + line(2, "open", "b", "new")
            try Data(journal.utf8).write(to: URL(fileURLWithPath: harness.state + "/journal"))
            try harness.put("new", "a")
            try harness.put("old", "b")
            try harness.startAgent()
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                #expect(try await agent.writeFile("a", Data("new".utf8), call: "done", fence: 1).size == 3)
                let unknown = await #expect(throws: AppError.self) {
                    try await agent.writeFile("b", Data("new".utf8), call: "open", fence: 1)
                }
                #expect((unknown?.cause as? AgentFailure)?.code == .unknownEffect)
                #expect(try harness.text("b") == "old")
            }
        }
    }

    @Test func `a call that was first asked for in another sandbox does not begin in this one`() async throws {
        try await AgentHarness.connected { harness, agent in
            let lost = ProcessStart(id: "lost", fence: 1, shell: "touch began", sandbox: "an earlier one")
            #expect(try await agent.start(lost).state == .unknown)
            #expect(try await agent.start(lost).state == .unknown)
            let write = await #expect(throws: AppError.self) {
                try await agent.writeFile("began", Data(), call: "lost-write", fence: 1, sandbox: "an earlier one")
            }
            #expect((write?.cause as? AgentFailure)?.code == .unknownEffect)
            #expect(!FileManager.default.fileExists(atPath: harness.home + "/began"))
            let here = try await agent.run(
                ProcessStart(id: "here", fence: 1, shell: "echo here", sandbox: agent.sandbox), within: .seconds(20))
            #expect(here.data == Data("here\n".utf8))
            #expect(try await agent.writeFile("f", Data(), call: "w", fence: 1, sandbox: agent.sandbox).created)
        }
    }

    @Test func `output of ended commands is still there after a restart of the agent, and strays are removed`() async throws {
        try await AgentHarness.with { harness in
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.sh("echo kept", id: "ended")
                let stray = harness.state + "/out/999.ring"
                try Data("stray".utf8).write(to: URL(fileURLWithPath: stray))
                harness.killAgent()
                try harness.startAgent()
                await agent.waitUntilClosed()
                let next = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                #expect(try await next.output("ended").data == Data("kept\n".utf8))
                #expect(!FileManager.default.fileExists(atPath: stray))
            }
        }
    }

    @Test func `with a full disk nothing is begun, the reason is told, and later it works`() async throws {
        try await AgentHarness.with(agent: false) { harness in
            try harness.startAgent(fileLimit: 4)
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                var refusal: AppError?
                var refused = ""
                for number in 0..<100 where refusal == nil {
                    refused = "\(number)." + String(repeating: "x", count: 100)
                    do {
                        _ = try await agent.start(ProcessStart(id: refused, fence: 1, shell: "echo \(number) >> log"))
                    } catch { refusal = error as? AppError }
                }
                #expect(refusal?.code == .unavailable)
                #expect(refusal?.message.contains("nothing was started") == true)
                let number = String(refused.prefix { $0 != "." })
                #expect(try !harness.text("log").split(separator: "\n").contains(Substring(number)))
                // The same call again, with room: it had not begun.
                harness.killAgent()
                try harness.startAgent()
                await agent.waitUntilClosed()
                let next = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                #expect(try await next.sh("echo \(number) >> log", id: refused).state == .exited(0))
                #expect(try harness.text("log").split(separator: "\n").filter { $0 == number }.count == 1)
            }
        }
    }

    /// Leaves no room in the agent's journal for so much as a line.
    private func fill(_ agent: AgentConnection) async throws {
        for scope in [String(repeating: "x", count: 120), "s"] {
            var isFull = false
            for number in 1..<1000 where !isFull {
                do { _ = try await agent.adopt(Fence(Int64(number), scope: scope)) } catch let error as AppError {
                    #expect(error.message.contains("the fence was not recorded"))
                    isFull = true
                }
            }
            #expect(isFull)
        }
    }

    @Test(arguments: [true, false])
    func `an end that the disk does not take is not lost, whether the agent is started again or gets room`(restarts: Bool)
        async throws
    {
        try await AgentHarness.with(agent: false) { harness in
            try harness.startAgent(fileLimit: 4)
            try await harness.withServer { server in
                let agent = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                _ = try await agent.sh("mkfifo gate")
                let start = ProcessStart(id: "held", fence: 1, shell: "read x < gate; echo ran >> count")
                _ = try await agent.start(start)
                try await fill(agent)
                try open("gate", harness)
                #expect(try await agent.output("held", wait: .seconds(20), until: .exit).status.state == .exited(0))
                #expect(try await agent.start(start).state == .exited(0))
                if !restarts {
                    try harness.giveAgentRoom()
                    try await eventually("the end is in the journal") {
                        let text = try String(contentsOfFile: harness.state + "/journal", encoding: .utf8)
                        return text.split(separator: "\n").contains { $0.hasPrefix("end 2 ") }
                    }
                }
                harness.killAgent()
                try harness.startAgent()
                await agent.waitUntilClosed()
                let next = try await server.sessions.connection(for: harness.workspace, within: .seconds(20))
                #expect(try await next.start(start).state == .exited(0))
                #expect(try await next.sh("echo here").text == "here\n")
                #expect(try harness.text("count") == "ran\n")
            }
        }
    }
}
