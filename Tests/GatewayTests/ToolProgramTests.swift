import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Gateway

/// Servers of tools that are programs, as the gateway speaks with them. That they are isolated is shown in ProvisioningTests.
@Suite struct ToolProgramTests {
    /// A program that is played by a test.
    private final class Played: ToolProgramStarter {
        struct Run: ToolProgram {
            let say: @Sendable (String) -> Void
            let end: @Sendable () -> Void
            let played: Played
            var lastWords: String { "the last words" }

            func send(_ line: String, within: Duration) async throws { try await played.heard(line, self) }
            func stop() async { end() }
        }

        typealias Script = @Sendable (_ method: String, _ id: String, _ line: JSONObjectText, Run) async throws -> Void

        private let script: Script
        /// The version of the protocol that it says hello with.
        private let hello: String
        private let state = NIOLockedValueBox(
            (starts: [(command: [String], environment: [String: String])](), lines: [String](), ends: 0))

        init(hello: String = "2024-11-05", _ script: @escaping Script = { _, id, _, run in run.say(text(id, "done")) }) {
            self.hello = hello
            self.script = script
        }

        var starts: [(command: [String], environment: [String: String])] { state.withLockedValue { $0.starts } }
        var lines: [String] { state.withLockedValue { $0.lines } }
        var ends: Int { state.withLockedValue { $0.ends } }

        func start(
            _ command: [String], environment: [String: String], onLine: @escaping @Sendable (String) -> Void,
            onEnd: @escaping @Sendable () -> Void
        ) throws -> any ToolProgram {
            state.withLockedValue { $0.starts.append((command, environment)) }
            let ended = NIOLockedValueBox(false)
            return Run(
                say: onLine,
                end: {
                    let isFirst = ended.withLockedValue { ended in
                        defer { ended = true }
                        return !ended
                    }
                    if isFirst {
                        self.state.withLockedValue { $0.ends += 1 }
                        onEnd()
                    }
                }, played: self)
        }

        func heard(_ line: String, _ run: Run) async throws {
            state.withLockedValue { $0.lines.append(line) }
            guard let fields = JSONObjectText(line), let method = fields.string("method"), let id = fields["id"] else { return }
            switch method {
            case "initialize":
                run.say(#"{"jsonrpc":"2.0","id":\#(id),"result":{"protocolVersion":"\#(hello)","capabilities":{}}}"#)
            case "tools/list":
                run.say(#"{"jsonrpc":"2.0","id":\#(id),"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}"#)
            default: try await script(method, id, fields, run)
            }
        }
    }

    private static func text(_ id: String, _ text: String) -> String {
        #"{"jsonrpc":"2.0","id":\#(id),"result":{"content":[{"type":"text","text":"\#(text)"}]}}"#
    }

    private static func with(
        _ played: Played?, _ body: (Stage, Gateway, ToolClient) async throws -> Void
    ) async throws {
        try await Stage.with { stage in
            try await stage.gateway(programs: played) { gateway in
                try await body(stage, gateway, ToolClient(gateway, stage.user))
            }
        }
    }

    private static func register(_ stage: Stage, _ gateway: Gateway) async throws {
        var change = ToolServerService.Change()
        change.command = ["notes", "--all"]
        change.environment = [.init(name: "KEY", value: "a secret")]
        _ = try await gateway.tools.servers.create(stage.user, name: "notes", change)
    }

    @Test func `a program is started once for all its users, with its own variables, and called like any server`() async throws {
        let played = Played { _, id, _, run in
            // What it says besides is nobody's; what it asks is answered.
            run.say("starting up …")
            run.say(#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#)
            run.say(#"{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{}}"#)
            run.say(ToolProgramTests.text(id, "done"))
        }
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            let other = ToolClient(gateway, try await Stage.makeUser(stage.pool, "eve"))
            #expect(played.starts.isEmpty)
            #expect(try await client.call("notes__echo", #"{"a":1}"#).get().contains("done"))
            #expect(try await other.call("notes__echo").get().contains("done"))
            #expect(played.starts.count == 1 && played.starts[0].command == ["notes", "--all"])
            #expect(played.starts[0].environment == ["KEY": "a secret"])
            try await eventually { played.lines.contains { $0.contains(#""id":"p","result":{}"#) } }
            try await eventually { played.lines.contains { $0.contains(#""id":"s","error""#) } }
            #expect(try await stage.toolCalls() == ["echo allow ok", "echo allow ok"])
            // What it is given is sealed.
            let sealed = try await stage.pool.query("SELECT sealed, header_names FROM ai_mcp_servers")[0]
            #expect(!String(decoding: try sealed["sealed", as: Data.self], as: UTF8.self).contains("a secret"))
            #expect(try sealed["header_names", as: [String].self] == ["KEY"])
            // Another variable is another program.
            var change = ToolServerService.Change()
            change.environment = [.init(name: "KEY", value: "another")]
            _ = try await gateway.tools.servers.update(stage.user, name: "notes", change)
            _ = try await client.call("notes__echo").get()
            #expect(played.starts.map { $0.environment["KEY"] } == ["a secret", "another"])
            try await stage.expectSound(gateway)
        }
    }

    @Test func `one that ends fails its calls, rests, and is started again`() async throws {
        let played = Played { _, id, line, run in
            if line.object("params")?["arguments"]?.contains("die") == true {
                run.end()
            } else {
                run.say(ToolProgramTests.text(id, "done"))
            }
        }
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            guard case .failure(let ended) = try await client.call("notes__echo", #"{"a":"die"}"#),
                case .failure(let rests) = try await client.call("notes__echo")
            else {
                Issue.record("it went through")
                return
            }
            #expect(ended.message.contains("ended before it answered: the last words"), "\(ended.message)")
            #expect(rests.message.contains("the last words") && rests.message.contains("started again in 1 s"), "\(rests.message)")
            try await eventually { if case .success = try await client.call("notes__echo") { true } else { false } }
            #expect(played.starts.count == 2)
            let calls = try await stage.toolCalls()
            #expect(calls.first == "echo allow error" && calls.last == "echo allow ok")
        }
    }

    @Test func `one that cannot say hello is started once for all who wait, stopped, and rests`() async throws {
        let played = Played(hello: "1999-01-01")
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            let failures = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        guard case .failure(let error) = try await client.call("notes__echo") else { return "" }
                        return error.message
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(failures.contains { $0.contains("speaks another version") }, "\(failures)")
            guard case .failure(let rests) = try await client.call("notes__echo") else {
                Issue.record("it went through")
                return
            }
            #expect(rests.message.contains("the last words") && rests.message.contains("started again in 1 s"), "\(rests.message)")
            #expect(played.starts.count == 1)
            // It is counted each time: the second rest is the longer one.
            try await eventually {
                guard case .failure(let error) = try await client.call("notes__echo") else { return false }
                return error.message.contains("started again in 2 s")
            }
            #expect(played.starts.count == 2)
        }
    }

    @Test func `one that is disabled, changed at another replica or removed is ended`() async throws {
        let played = Played()
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            func set(enabled: Bool) async throws {
                var change = ToolServerService.Change()
                change.isEnabled = enabled
                _ = try await gateway.tools.servers.update(stage.user, name: "notes", change)
            }
            _ = try await client.call("notes__echo").get()
            try await set(enabled: false)
            try await eventually { played.ends == 1 }
            try await set(enabled: true)
            _ = try await client.call("notes__echo").get()
            let store = gateway.tools.servers.store
            await gateway.tools.servers.programs.sweep(store)
            #expect(played.ends == 1)
            _ = try await stage.pool.execute("UPDATE ai_mcp_servers SET enabled = false")
            await gateway.tools.servers.programs.sweep(store)
            #expect(played.ends == 2)
            _ = try await stage.pool.execute("UPDATE ai_mcp_servers SET enabled = true")
            _ = try await client.call("notes__echo").get()
            try await gateway.tools.servers.delete(stage.user, name: "notes")
            try await eventually { played.ends == 3 }
            #expect(played.starts.count == 3)
        }
    }

    @Test func `an empty list of headers leaves a program what it was given`() async throws {
        let played = Played()
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            var change = ToolServerService.Change()
            change.headers = []
            _ = try await gateway.tools.servers.update(stage.user, name: "notes", change)
            _ = try await client.call("notes__echo").get()
            #expect(played.starts.map(\.environment) == [["KEY": "a secret"]])
        }
    }

    @Test func `a call that is withdrawn is withdrawn there, and one that takes too long times out`() async throws {
        let played = Played { _, _, _, _ in }
        try await Self.with(played) { stage, gateway, client in
            try await Self.register(stage, gateway)
            var change = ToolServerService.Change()
            change.timeoutSeconds = 1
            _ = try await gateway.tools.servers.update(stage.user, name: "notes", change)
            guard case .failure(let late) = try await client.call("notes__echo") else {
                Issue.record("it went through")
                return
            }
            #expect(late.message.contains("did not answer within 1 seconds"))
            try await eventually { played.lines.contains { $0.contains("notifications/cancelled") } }
            #expect(try await stage.toolCalls() == ["echo allow timeout"])
        }
    }

    @Test func `programs are refused where none can be isolated, and what only a URL has is refused for them`() async throws {
        try await Self.with(nil) { stage, gateway, _ in
            let error = await #expect(throws: AppError.self) { try await Self.register(stage, gateway) }
            #expect(error?.code == .unavailable && error?.message.contains("install bubblewrap") == true)
        }
        try await Self.with(Played()) { stage, gateway, _ in
            try await Self.register(stage, gateway)
            for (field, set) in [
                ("url", { $0.url = "https://example.org" }), ("auth", { $0.auth = .user }), ("command", { $0.command = [] }),
                ("command", { $0.command = ["./here"] }),
                ("environment", { $0.environment = [.init(name: "LD_PRELOAD", value: "x")] }),
                ("headers", { $0.headers = [.init(name: "X-A", value: "x")] }),
            ] as [(String, (inout ToolServerService.Change) -> Void)] {
                var change = ToolServerService.Change()
                set(&change)
                let made = change
                let error = await #expect(throws: AppError.self) {
                    try await gateway.tools.servers.update(stage.user, name: "notes", made)
                }
                #expect(error?.field == field)
            }
        }
    }

    @Test func `a program rests longer each time that it ends, and one that ran for long begins anew`() {
        var restarts = ProgramRestarts()
        let now = ContinuousClock.now
        #expect(restarts.wait(at: now) == nil)
        let waits = (0..<9).map { _ in
            restarts.ended(at: now, startedAt: now)
            return restarts.wait(at: now)
        }
        #expect(waits == [1, 2, 4, 8, 16, 32, 60, 60, 60].map { .seconds($0) })
        #expect(restarts.wait(at: now + .seconds(60)) == nil)
        restarts.ended(at: now, startedAt: now - .seconds(61))
        #expect(restarts.wait(at: now) == .seconds(1))
    }
}
