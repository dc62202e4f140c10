import Core
import Foundation
import ModelAPI
import NIOCore
import Policies
import TestSupport
import Testing

@testable import Gateway

@Suite struct ToolPolicyTests {
    private typealias Seen = DataGuardTests.Seen

    static let rules = """
        name: tools
        default: next
        rules:
          - id: tests-may-delete
            resources: {tools: bash}
            when: {arguments: {command: ["rm -rf build", "rm -rf build/*"]}}
            effect: allow
          - id: no-deleting
            resources: {tools: [bash, shell]}
            when: {arguments: {command: "*rm -rf*"}}
            effect: deny
            reason: Nothing is deleted here.
          - id: ask-before-sending
            resources: {tools: "send_*"}
            effect: require_approval
          - id: watch
            resources: {tools: bash}
            effect: flag
        """

    private static func with(
        _ answer: @escaping RawServer.Script, _ body: (Stage, Gateway) async throws -> Void
    ) async throws {
        try await Stage.with(Seen().script(answer)) { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.policies.put(stage.user, name: "tools", source: Self.rules)
                try await body(stage, gateway)
                try await DataGuardTests.quiet(gateway)
                try await stage.expectSound(gateway)
            }
        }
    }

    // MARK: A client's own tools

    private static func call(_ tool: String, _ input: String) -> String {
        """
        {"id":"msg_1","type":"message","role":"assistant","model":"\(Stage.model)","content":[{"type":"text","text":"Now."},\
        {"type":"tool_use","id":"toolu_1","name":"\(tool)","input":\(input)}],"stop_reason":"tool_use","usage":{"input_tokens":10,"output_tokens":5}}
        """
    }

    @Test(arguments: [
        ("bash", #"{"command":"ls"}"#, 200, ["tool_call  bash tools/watch flagged 1"]),
        ("bash", #"{"command":"cd / && rm -rf home"}"#, 403, ["tool_call  bash tools/no-deleting blocked 1"]),
        ("bash", #"{"command":"rm\u0020-rf /"}"#, 403, ["tool_call  bash tools/no-deleting blocked 1"]),
        ("bash", #"{"command":"rm -rf build"}"#, 200, ["tool_call  bash tools/tests-may-delete allowed 1"]),
        // Who knows which of the two counts? What cannot be read is no reason to allow.
        ("bash", #"{"command":"rm -rf build","command":"x"}"#, 403, ["tool_call  bash tools/no-deleting blocked 1"]),
        ("send_mail", "{}", 403, ["tool_call  send_mail tools/ask-before-sending blocked 1"]), ("read_file", "{}", 200, []),
    ]) func `a tool call in a whole answer is decided by name and arguments`(
        tool: String, input: String, status: Int, findings: [String]
    ) async throws {
        let body = Self.call(tool, input)
        try await Self.with(Seen.sending(body)) { stage, gateway in
            let answer = await gateway.call(stage.call(Stage.messages()))
            let text = await answer.text()
            #expect(answer.status == status)
            if status == 200 {
                #expect(text == body)
            } else {
                #expect(text.contains("permission_error") && text.contains("(policy rule tools/"))
            }
            try await DataGuardTests.quiet(gateway)
            #expect(try await DataGuardTests.findings(stage) == findings)
            // What it used is paid for all the same.
            #expect(try await stage.ledger().map(\.output) == [5])
        }
    }

    private static func stream(_ tool: String, _ pieces: [String]) -> [String] {
        var events = Upstream.messageStream(["Now."])
        let delta = pieces.map { piece in
            let escaped = piece.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            return
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\(escaped)\"}}\n\n"
        }
        events.insert(
            contentsOf: [
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"\(tool)\",\"input\":{}}}\n\n"
            ] + delta + ["event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"], at: 5)
        return events
    }

    @Test func `a streamed tool call is held until it is known, and then passes as it came or ends the stream`() async throws {
        let fine = Self.stream("bash", [#"{"comm"#, #"and":"l"#, #"s"}"#])
        try await Self.with(Seen.streaming(fine)) { stage, gateway in
            #expect(await gateway.call(stage.call(Stage.messages(stream: true))).text() == fine.joined())
        }
        let bad = Self.stream("bash", [#"{"comm"#, #"and":"rm -"#, #"rf /"}"#])
        try await Self.with(Seen.streaming(bad)) { stage, gateway in
            let text = await gateway.call(stage.call(Stage.messages(stream: true))).text()
            var reader = AnswerReader(.messages, streamed: true)
            try reader.feed(ByteBuffer(string: text))
            #expect(reader.error?.type == "permission_error")
            #expect(reader.error?.message.contains("Nothing is deleted here.") == true)
            #expect(reader.text == "Now." && !text.contains("toolu_1"), "\(text)")
            try await DataGuardTests.quiet(gateway)
            #expect(try await stage.ledger().map(\.status) == ["cut"])
            // It was never the client's.
            #expect(try await stage.count("ai_tool_usages") == 0)
        }
    }

    @Test func `the same in Chat Completions, also with two calls side by side`() async throws {
        func chunk(_ delta: String, _ finish: String = "null") -> String {
            "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":\(delta),\"finish_reason\":\(finish)}]}\n\n"
        }
        func calls(_ second: String) -> [String] {
            [
                chunk(#"{"role":"assistant","content":"Now."}"#),
                chunk(#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"read_file","arguments":"{}"}}]}"#),
                chunk(#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"bash","arguments":""}}]}"#),
                chunk(#"{"tool_calls":[{"index":1,"function":{"arguments":"{\"command\":\"\#(second)\"}"}}]}"#),
                chunk("{}", #""tool_calls""#), "data: [DONE]\n\n",
            ]
        }
        try await Self.with(Seen.streaming(calls("ls"))) { stage, gateway in
            let text = await gateway.call(stage.call(Stage.chat(stream: true), provider: "openai")).text()
            #expect(text == calls("ls").joined())
        }
        try await Self.with(Seen.streaming(calls("rm -rf /"))) { stage, gateway in
            let text = await gateway.call(stage.call(Stage.chat(stream: true), provider: "openai")).text()
            #expect(text.hasPrefix(calls("")[0]) && !text.contains("read_file") && text.hasSuffix("data: [DONE]\n\n"))
            #expect(text.contains("(policy rule tools/no-deleting)"))
        }
    }

    @Test func `the loop's answers pass, for the loop asks before each call`() async throws {
        let body = Self.call("bash", #"{"command":"rm -rf /"}"#)
        try await Self.with(Seen.sending(body)) { stage, gateway in
            let task = TaskID()
            let answer = await gateway.call(stage.call(Stage.messages(), origin: .loop(task: task, step: 1)))
            #expect(answer.status == 200)
            func judge(_ tool: String, _ arguments: String) async throws -> Gateway.TaskToolVerdict {
                try await gateway.judge(tool: tool, arguments: arguments, for: stage.user)
            }
            #expect(try await judge("read_file", "{}") == .allowed)
            #expect(
                try await judge("bash", #"{"command":"rm -rf /"}"#)
                    == .refused("Nothing is deleted here. (policy rule tools/no-deleting)"))
            guard case .needsApproval(let why) = try await judge("send_mail", "{}") else {
                Issue.record("it needs no approval")
                return
            }
            #expect(why.contains("tools/ask-before-sending"))
            #expect(try await stage.count("audit_facts", "kind = 'task.tool'") == 2)
        }
    }

    @Test(arguments: [("up", 403), ("down", 200)]) func `rules about tools that name a provider are for the one that answers`(
        provider: String, status: Int
    ) async throws {
        let calling = Self.call("bash", "{}")
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                let isDown = request.path.hasPrefix("/down")
                let answer = isDown ? "{}" : calling
                try await connection.send(Upstream.head(status: isDown ? "503 Down" : "200 OK", length: answer.utf8.count) + answer)
            }
        }) { stage in
            let providers = ["down", "up"].map { stage.provider($0, .anthropic, url: "\(stage.upstream)/\($0)") }
            try await stage.gateway(providers: providers) { gateway in
                try await stage.put(
                    gateway,
                    """
                    name: places
                    default: {calls: next, tools: next}
                    rules: [{id: no-bash, resources: {providers: \(provider), tools: bash}, effect: deny}]
                    """)
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["down/test-model", "up/test-model"])
                let answer = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto"))
                #expect(answer.status == status)
                #expect(await answer.text().contains("(policy rule places/no-bash)") == (status == 403))
                try await DataGuardTests.quiet(gateway)
                try await stage.expectSound(gateway)
            }
        }
    }

    // MARK: MCP

    @Test func `calls of an MCP server's tools are decided before they are sent, by server, name and arguments`() async throws {
        let upstream = ToolUpstream(tools: ["echo", "query"])
        try await Stage.withTools(upstream) { stage, gateway, client in
            _ = try await gateway.policies.put(
                stage.user, name: "mcp",
                source: """
                    name: mcp
                    default: {calls: next, tools: next}
                    rules:
                      - id: only-reading
                        resources: {mcp_servers: tools, tools: query}
                        when: {arguments: {"*sql": ["DROP *", "DELETE *"]}}
                        effect: deny
                        reason: Only reading.
                      - {id: ask, resources: {mcp_servers: tools, tools: echo}, when: {arguments: {loud: "true"}}, effect: require_approval}
                      - {id: fine, resources: {mcp_servers: tools}, effect: allow}
                    """)
            func told(_ tool: String, _ arguments: String) async throws -> String {
                switch try await client.call(tool, arguments) {
                case .success: "ok"
                case .failure(let error): "\(error.code) \(error.message) \(error.data ?? "")"
                }
            }
            #expect(try await told("tools__query", #"{"sql":"SELECT 1"}"#) == "ok")
            let refused = try await told("tools__query", #"{"q":{"sql":"DROP TABLE users"}}"#)
            #expect(refused.hasPrefix("-32003 Only reading. (policy rule mcp/only-reading)") && refused.contains("policy_denied"))
            #expect(try await told("tools__echo", #"{"loud":true}"#).contains("ask an admin for a rule that allows it"))
            #expect(try await told("tools__echo", #"{"loud":false}"#) == "ok")
            #expect(upstream.seen("tools/call").count == 2)
            let calls = try await stage.toolCalls()
            #expect(calls == ["query allow ok", "query deny refused", "echo approval refused", "echo allow ok"])
            #expect(try await stage.count("ai_mcp_calls", "rule = 'mcp/fine'") == 2)
            #expect(try await gateway.audit.verify().problems == [])
        }
    }

    @Test func `what goes to an MCP server and what comes back is looked through`() async throws {
        let token = DataGuardTests.token
        let upstream = ToolUpstream(tools: ["echo", "get"]) { id, tool, connection in
            try await ToolUpstream.text(tool == "get" ? "key \(token)" : "done")(id, tool, connection)
        }
        try await Stage.withTools(upstream) { stage, gateway, client in
            _ = try await gateway.policies.put(stage.user, name: "data", source: DataGuardTests.redact)
            _ = try await client.call("tools__echo", #"{"id":"\#(token)","n":1.50}"#)
            #expect(upstream.seen("tools/call").last?.body.contains(#"{"id":"\#(DataGuardTests.removed)","n":1.50}"#) == true)
            let result = try await client.call("tools__get")
            #expect(try result.get().contains("key \(DataGuardTests.removed)"))
            _ = try await gateway.policies.put(stage.user, name: "data", source: DataGuardTests.deny)
            for (tool, arguments) in [("tools__echo", #"{"a":["\#(token)"]}"#), ("tools__get", "{}")] {
                guard case .failure(let error) = try await client.call(tool, arguments) else {
                    Issue.record("\(tool) went through")
                    continue
                }
                #expect(error.code == MCPError.denied && error.message.contains("data/tokens"))
            }
            #expect(upstream.seen("tools/call").count == 3)
            #expect(try await stage.toolCalls() == ["echo allow ok", "get allow ok", "echo deny refused", "get allow refused"])
            #expect(try await stage.count("ai_mcp_calls", "arguments LIKE '%0mLq17%'") == 0)
            #expect(try await stage.count("ai_mcp_results", "result LIKE '%0mLq17%'") == 0)
            let findings = try await DataGuardTests.findings(stage)
            #expect(
                findings
                    == [
                        "tool_input  secret.github_token data/tokens redacted 1",
                        "tool_result content secret.github_token data/tokens redacted 1",
                        "tool_input  secret.github_token data/tokens blocked 1",
                        "tool_result content secret.github_token data/tokens blocked 1",
                    ].map { $0.replacing("tool_result content", with: "tool_result ") })
            #expect(try await gateway.audit.verify().problems == [])

            // The record of the call shows them, in the list as well.
            let calls = try await gateway.tools.calls.list(.own(stage.user), .init(), try PageRequest()).items
            let shown = calls.reversed().map { $0.findings.map { "\($0.place) \($0.effect.rawValue)" } }
            #expect(shown == [["tool_input redacted"], ["tool_result redacted"], ["tool_input blocked"], ["tool_result blocked"]])
            #expect(try await gateway.tools.calls.get(.own(stage.user), calls[0].id).findings == calls[0].findings)
        }
    }

    @Test func `a tool that is refused whatever it is called with is not listed, one that some arguments are refused for is`()
        async throws
    {
        let upstream = ToolUpstream(tools: ["closed", "partly", "but_for_some", "asked", "open"])
        try await Stage.withTools(upstream) { stage, gateway, client in
            _ = try await gateway.policies.put(
                stage.user, name: "mcp",
                source: """
                    name: mcp
                    default: next
                    rules:
                      - {id: some, resources: {mcp_servers: tools, tools: but_for_some}, when: {arguments: {a: "1"}}, effect: allow}
                      - {id: closed, resources: {mcp_servers: tools, tools: [closed, but_for_some]}, effect: deny}
                      - {id: partly, resources: {tools: partly}, when: {arguments: {a: "2"}}, effect: deny}
                      - {id: asked, resources: {tools: asked}, effect: require_approval}
                      - {id: of-another, resources: {mcp_servers: wiki, tools: open}, effect: deny}
                    """)
            guard case .message(.result(_, let list), _) = await client.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            else {
                Issue.record("there is no list")
                return
            }
            let names = list.matches(of: /"tools__([a-z_]*)"/).map { String($0.1) }
            #expect(names == ["asked", "but_for_some", "open", "partly"])
            guard case .failure(let error) = try await client.call("tools__closed") else {
                Issue.record("it went through")
                return
            }
            #expect(error.code == MCPError.denied && error.message.contains("mcp/closed"))
        }
    }
}
