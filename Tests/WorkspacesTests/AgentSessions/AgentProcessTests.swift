import AgentProtocol
import Core
import Foundation
import Testing
import Workspaces

@Suite(.serialized) struct AgentProcessTests {
    @Test func `a command runs in the home and its output and exit code come back`() async throws {
        try await AgentHarness.connected { harness, agent in
            let result = try await agent.sh("pwd; echo on stderr >&2; exit 3")
            #expect(result.state == .exited(3))
            #expect(result.text == "\(harness.home)\non stderr\n")
        }
    }

    @Test func `arguments, environment, directory and standard input arrive as they were sent`() async throws {
        try await AgentHarness.connected { harness, agent in
            try FileManager.default.createDirectory(atPath: harness.home + "/sub dir", withIntermediateDirectories: false)
            let output = try await agent.run(
                ProcessStart(
                    id: "one", fence: 1,
                    command: ["/bin/sh", "-c", "pwd; printf '%s|' \"$@\"; echo \"$WORD\"; cat", "sh", "a b", "", "ü\n$x"],
                    directory: "sub dir", environment: ["WORD": "tree=leaf"], stdin: Data("from stdin".utf8)), within: .seconds(20))
            #expect(output.status.state == .exited(0))
            #expect(String(decoding: output.data, as: UTF8.self) == "\(harness.home)/sub dir\na b||ü\n$x|tree=leaf\nfrom stdin")
        }
    }

    @Test func `without standard input a command reads an empty one`() async throws {
        try await AgentHarness.connected { _, agent in
            let result = try await agent.sh("cat; echo done")
            #expect(result.state == .exited(0))
            #expect(result.text == "done\n")
        }
    }

    @Test func `a command that cannot be run is refused with the reason and can be asked for again`() async throws {
        try await AgentHarness.connected { _, agent in
            for _ in 0..<2 {
                let status = try await agent.start(ProcessStart(id: "no-program", fence: 1, command: ["/no/such/program"]))
                #expect(status.state == .refused("'/no/such/program' cannot be run: No such file or directory."))
            }
            let status = try await agent.start(ProcessStart(id: "no-directory", fence: 1, shell: "true", directory: "nowhere"))
            #expect(status.state == .refused("The directory 'nowhere' cannot be entered: No such file or directory."))
        }
    }

    @Test func `a command that a signal ended says which`() async throws {
        try await AgentHarness.connected { _, agent in
            let result = try await agent.sh("kill -SEGV $$")
            #expect(result.state == .signaled(SIGSEGV))
        }
    }

    @Test func `a signal reaches the whole group, and afterwards there is nobody left`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.start(ProcessStart(id: "sleeper", fence: 1, shell: "sleep 600 & echo started; wait"))
            let first = try await agent.output("sleeper", wait: .seconds(20))
            #expect(String(decoding: first.data, as: UTF8.self) == "started\n")
            try await agent.signal("sleeper", SIGTERM, fence: 1)
            let end = try await agent.output("sleeper", from: .cursor(first.cursor), wait: .seconds(20), until: .exit)
            #expect(end.status.state == .signaled(SIGTERM))
            let refusal = await #expect(throws: AppError.self) { try await agent.signal("sleeper", SIGTERM, fence: 1) }
            #expect(refusal?.code == .notFound)
        }
    }

    @Test func `a signal with a call id is sent once`() async throws {
        try await AgentHarness.connected { harness, agent in
            _ = try await agent.start(
                ProcessStart(id: "counter", fence: 1, shell: "trap 'echo got' USR1; echo up; while :; do sleep 0.01; done"))
            var cursor = try await agent.output("counter", wait: .seconds(20)).cursor
            for _ in 0..<3 { try await agent.signal("counter", SIGUSR1, fence: 1, target: .leader, call: "signal-1") }
            var piece = try await agent.output("counter", from: .cursor(cursor), wait: .seconds(20))
            #expect(String(decoding: piece.data, as: UTF8.self) == "got\n")
            cursor = piece.cursor
            // One that was sent after them arrives after them.
            try await agent.signal("counter", SIGUSR1, fence: 1, target: .leader, call: "signal-2")
            piece = try await agent.output("counter", from: .cursor(cursor), wait: .seconds(20))
            #expect(String(decoding: piece.data, as: UTF8.self) == "got\n")
            let reused = await #expect(throws: AppError.self) {
                try await agent.signal("counter", SIGKILL, fence: 1, call: "signal-1")
            }
            #expect(reused?.field == "call")
            try await agent.signal("counter", SIGKILL, fence: 1, target: .session)
            _ = try await agent.output("counter", wait: .seconds(20), until: .exit)
            let ended = await #expect(throws: AppError.self) { try await agent.signal("counter", 0, fence: 1, call: "signal-3") }
            #expect(ended?.code == .notFound)
            let again = await #expect(throws: AppError.self) { try await agent.signal("counter", 0, fence: 1, call: "signal-3") }
            #expect(again?.message == ended?.message)
        }
    }

    @Test func `the same id is started once, also when many ask at the same time`() async throws {
        try await AgentHarness.connected { harness, agent in
            let start = ProcessStart(id: "only-once", fence: 1, shell: "echo x >> count")
            try await withThrowingTaskGroup { group in
                for _ in 0..<50 { group.addTask { _ = try await agent.start(start) } }
                try await group.waitForAll()
            }
            _ = try await agent.output("only-once", wait: .seconds(20), until: .exit)
            #expect(try harness.text("count") == "x\n")
        }
    }

    @Test func `an id that belongs to another command is refused`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.sh("true", id: "taken")
            let refusal = await #expect(throws: AppError.self) { try await agent.sh("false", id: "taken") }
            #expect(refusal?.code == .conflict)
            #expect(refusal?.field == "call")
        }
    }

    @Test func `output is read on at its cursor without gap or repetition`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.start(ProcessStart(id: "lines", fence: 1, shell: "for i in {1..2000}; do echo line $i; done"))
            var text = ""
            var cursor: Int64 = 0
            while true {
                let piece = try await agent.output("lines", from: .cursor(cursor), limit: 777, wait: .seconds(20))
                text += String(decoding: piece.data, as: UTF8.self)
                #expect(piece.truncatedBefore == 0)
                cursor = piece.cursor
                if piece.isComplete { break }
            }
            #expect(text == (1...2000).map { "line \($0)\n" }.joined())
        }
    }

    @Test func `of more output than is kept the newest is kept and the loss is told`() async throws {
        try await AgentHarness.connected { _, agent in
            let total: Int64 = 40 << 20
            let output = try await agent.run(
                ProcessStart(id: "flood", fence: 1, shell: "head -c \(total - 4) /dev/zero; echo end"), within: .seconds(60),
                limit: 4)
            #expect(output.status.outputBytes == total)
            #expect(String(decoding: output.data, as: UTF8.self) == "end\n")
            let head = try await agent.output("flood", from: .cursor(0), limit: 10)
            #expect(head.data.count == 10)
            #expect(head.truncatedBefore >= total - (16 << 20))
            #expect(head.cursor == head.truncatedBefore + 10)
        }
    }

    @Test func `waiting ends at the deadline and leaves the command running`() async throws {
        try await AgentHarness.connected { _, agent in
            let clock = ContinuousClock()
            let begin = clock.now
            let output = try await agent.run(ProcessStart(id: "slow", fence: 1, shell: "sleep 600"), within: .milliseconds(300))
            #expect(output.status.state == .running)
            #expect(clock.now - begin < .seconds(5))
            #expect(try await agent.processes().map(\.id) == ["slow"])
        }
    }

    @Test func `a child in the background outlives its command, and its output goes on`() async throws {
        try await AgentHarness.connected { harness, agent in
            _ = try await agent.start(
                ProcessStart(id: "parent", fence: 1, shell: "mkfifo gate; (read x < gate; echo child) & echo parent"))
            let first = try await agent.output("parent", wait: .seconds(20), until: .exit)
            #expect(first.status.state == .exited(0))
            #expect(first.status.outputOpen)
            #expect(String(decoding: first.data, as: UTF8.self) == "parent\n")
            _ = try await agent.sh("echo go > gate")
            var end = first
            while end.status.outputOpen { end = try await agent.output("parent", wait: .milliseconds(50)) }
            #expect(String(decoding: end.data, as: UTF8.self) == "parent\nchild\n")
        }
    }

    @Test func `what is asked wrongly is refused with the field's name`() async throws {
        try await AgentHarness.connected { _, agent in
            func refusal(_ start: ProcessStart) async -> AppError? {
                await #expect(throws: AppError.self) { try await agent.start(start) }
            }
            #expect(await refusal(ProcessStart(id: "no spaces", fence: 1, shell: "true"))?.message.hasPrefix("id:") == true)
            #expect(await refusal(ProcessStart(id: "a", fence: 1, command: []))?.message.hasPrefix("command:") == true)
            #expect(await refusal(ProcessStart(id: "a", fence: 1, command: ["a\0b"]))?.message.contains("NUL") == true)
            #expect(
                await refusal(ProcessStart(id: "a", fence: 1, shell: "true", environment: ["A=B": ""]))?.message.hasPrefix(
                    "environment:") == true)
            #expect(
                await refusal(ProcessStart(id: "a", fence: 1, shell: String(repeating: "x", count: 200_000)))?.code == .tooLarge)
            #expect(
                await refusal(ProcessStart(id: "a", fence: Fence(1, scope: ""), shell: "true"))?.message.hasPrefix("fence.scope")
                    == true)
            let unknown = await #expect(throws: AppError.self) { try await agent.output("never-started") }
            #expect(unknown?.code == .notFound)
        }
    }
}
