import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

/// Which program called, in which of its sessions, threads and agents: from real requests to what the API tells.
@Suite struct ClientSessionTests {
    private static let session = "9f0c-7"

    private static func body(_ prompt: String, results: [String] = [], userID: String? = nil) -> Data {
        let answers = results.map { #"{"type":"tool_result","tool_use_id":"\#($0)","content":"r"}"# }.joined(separator: ",")
        let content = results.isEmpty ? #""\#(prompt)""# : "[\(answers)]"
        let metadata = userID.map { #","metadata":{"user_id":"\#($0)"}"# } ?? ""
        return Data(
            #"{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":\#(content)}]\#(metadata)}"#.utf8)
    }

    struct Program: Sendable {
        var client: String
        var headers: [(String, String)]
        var session: String?
        var userID: String?
    }

    private static let programs: [Program] = [
        Program(
            client: "Claude Code", headers: [("user-agent", "claude-cli/2.1"), ("x-claude-code-session-id", session)],
            session: session),
        Program(
            client: "Claude Code", headers: [("user-agent", "claude-cli/2.0")], session: session,
            userID: #"{\"device_id\":\"d\",\"session_id\":\"\#(session)\"}"#),
        Program(
            client: "Claude Code", headers: [("user-agent", "claude-cli/1.0")], session: session,
            userID: "user_ab_account_cd_session_\(session)"),
        Program(client: "Codex", headers: [("user-agent", "codex_cli_rs/0.1"), ("session_id", session)], session: session),
        Program(
            client: "Codex", headers: [("user-agent", "x"), ("originator", "codex_vscode"), ("session-id", session)],
            session: session),
        Program(client: "Zed", headers: [("user-agent", "Zed/0.2")]),
        Program(
            client: "GitHub Copilot (VS Code)", headers: [("user-agent", "GitHubCopilotChat/0.3"), ("x-interaction-id", session)],
            session: session),
        Program(
            client: "GitHub Copilot (CLI)", headers: [("user-agent", "copilot/1"), ("x-client-session-id", session)],
            session: session),
        Program(client: "Kilo Code", headers: [("user-agent", "Kilo-Code/4"), ("x-kilocode-taskid", session)], session: session),
        Program(client: "Roo Code", headers: [("user-agent", "Roo-Code/3")]),
        Program(
            client: "Coder Agents", headers: [("user-agent", "coder-agents/1"), ("x-coder-chat-id", session)], session: session),
        Program(client: "Charm Crush", headers: [("user-agent", "Charm Crush/0.1")]),
        Program(client: "Mux", headers: [("user-agent", "mux/1"), ("x-mux-workspace-id", session)], session: session),
        Program(client: "Cursor", headers: [("user-agent", "x"), ("x-cursor-client-version", "1")]),
        Program(client: "OpenCode", headers: [("user-agent", "opencode/1"), ("x-session-affinity", session)], session: session),
        Program(client: "Junie", headers: [("user-agent", "junie/1")]),
        Program(client: "Unknown", headers: [("user-agent", "curl/8")]),
    ]

    @Test func `each client is known by its headers, and its session is where it puts it`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            for program in Self.programs {
                let answer = try await scene.client(program.headers).send(
                    "POST", ScriptedProvider.path, Self.body("hi", userID: program.userID))
                #expect(answer.status == 200, "\(answer.text)")
                let call = try await scene.recorded(answer)
                #expect(call.client == program.client, "\(program)")
                // A client that names none has a session for each thread.
                #expect(call.sessionID == program.session ?? call.id, "\(program)")
            }
        }
    }

    /// The last result of a message, and of each protocol its own field.
    private static let later: [(provider: String, route: String, first: String, second: String, answer: String)] = [
        (
            "anthropic", "v1/messages",
            #"{"model":"claude-haiku-4-5","max_tokens":99,"messages":[{"role":"user","content":"go"}]}"#,
            #"{"model":"claude-haiku-4-5","max_tokens":99,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"other","content":"x"},{"type":"tool_result","tool_use_id":"CALL","content":"x"}]}]}"#,
            CodingScene.message(tool: ("CALL", "read"))
        ),
        (
            "openai", "v1/chat/completions",
            #"{"model":"gpt-5","max_completion_tokens":99,"messages":[{"role":"user","content":"go"}]}"#,
            #"{"model":"gpt-5","max_completion_tokens":99,"messages":[{"role":"user","content":"go"},{"role":"tool","tool_call_id":"CALL","content":"x"}]}"#,
            #"{"id":"c","object":"chat.completion","model":"gpt-5","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"CALL","type":"function","function":{"name":"read","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#
        ),
        (
            "openai", "v1/responses", #"{"model":"gpt-5","max_output_tokens":99,"input":"go"}"#,
            #"{"model":"gpt-5","max_output_tokens":99,"input":[{"type":"message","role":"user","content":"go"},{"type":"function_call_output","call_id":"CALL","output":"x"}]}"#,
            #"{"id":"r","object":"response","status":"completed","model":"gpt-5","output":[{"type":"function_call","id":"fc","call_id":"CALL","name":"read","arguments":"{}","status":"completed"}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#
        ),
    ]

    @Test func `a call that brings a tool's result belongs to the thread of the call that asked for it, and to nobody else's`()
        async throws
    {
        try await CodingScene.with { asked in
            let index = Int(asked.header("x-scene").first ?? "") ?? 0
            return CodingScene.json(Self.later[index].answer.replacing("CALL", with: "call_\(index)"))
        } _: { scene in
            let other = try await People.token(scene.pool, "eve", roles: [.member])
            for (index, one) in Self.later.enumerated() {
                let path = CodingScene.path(one.provider, one.route)
                let client = scene.client([("x-scene", "\(index)")])
                let first = try await scene.recorded(try await client.send("POST", path, Data(one.first.utf8)))
                let body = Data(one.second.replacing("CALL", with: "call_\(index)").utf8)
                let second = try await scene.recorded(try await client.send("POST", path, body))
                #expect(second.threadRootID == first.id && second.threadParentID == first.id, "\(one.route)")
                #expect(second.sessionID == first.id && first.threadRootID == nil)
                var stranger = client
                stranger.headers[0].value = other
                let third = try await scene.recorded(try await stranger.send("POST", path, body))
                #expect(third.threadRootID == nil && third.sessionID == third.id, "\(one.route)")
            }
        }
    }

    @Test func `the cost of sub-agents is a tree, which the API and the client show`() async throws {
        try await CodingScene.with { asked in
            let tool = asked.header("x-scene").first.map { (id: $0, name: "Task") }
            return CodingScene.json(CodingScene.message(tool: tool, input: 1000, output: 100))
        } _: { scene in
            func call(
                _ agent: String?, of parent: String? = nil, _ prompt: String, results: [String] = [], asks tool: String? = nil
            )
                async throws -> Interception
            {
                var headers = [("user-agent", "claude-cli/2.1"), ("x-claude-code-session-id", Self.session)]
                if let agent {
                    headers += [
                        ("x-claude-code-agent-id", agent), ("x-claude-code-agent-type", "Explore"),
                        ("x-claude-code-request-class", "subagent"), ("x-claude-code-prev-tool-durations", "Bash=742;Read=9"),
                        ("x-claude-code-compaction", "auto"), ("x-claude-code-context-compacted", "1"),
                    ]
                }
                if let parent { headers.append(("x-claude-code-parent-agent-id", parent)) }
                if let tool { headers.append(("x-scene", tool)) }
                return try await scene.recorded(
                    try await scene.client(headers).send("POST", ScriptedProvider.path, Self.body(prompt, results: results)))
            }
            let first = try await call(nil, "first prompt", asks: "toolu_main")
            let agent = try await call("a1", "look around", asks: "toolu_a1")
            _ = try await call("a1", "", results: ["toolu_a1"])
            _ = try await call("a2", of: "a1", "deeper")
            _ = try await call(nil, "", results: ["toolu_main"])
            let second = try await call(nil, "second prompt")
            _ = try await call("a1", "look again")

            let found = try await Client(url: scene.server.url, token: scene.auditor).get("\(APIPaths.interceptions)/\(agent.id)")
                .json(Interception.self)
            #expect(found.agentID == "a1" && found.parentAgentID == nil && found.agentType == "Explore")
            #expect(found.requestClass == "subagent" && found.clientHints?.compaction == "auto")
            #expect(found.clientHints?.contextCompacted == true)
            #expect(found.clientHints?.toolMilliseconds?.map(\.tool) == ["Bash", "Read"])
            #expect(found.clientHints?.toolMilliseconds?.map(\.milliseconds) == [742, 9])

            let path = "\(APIPaths.sessions)/\(Self.session)/tree"
            let tree = try await scene.client().get(path).json(AISessionTree.self)
            let each = try #require(first.costNanoDollars)
            #expect(each > 0 && tree.costNanoDollars == 7 * each && tree.interceptions == 7)
            #expect(tree.threads.map(\.id) == [first.id, second.id])
            #expect(tree.threads.map(\.prompt) == ["first prompt", "second prompt"])
            #expect(tree.threads.map(\.interceptions) == [2, 1] && tree.threads.map(\.totalInterceptions) == [5, 2])
            #expect(tree.threads.map(\.totalCostNanoDollars) == [5 * each, 2 * each])
            let explorer = try #require(tree.threads[0].agents.first)
            #expect(explorer.id == "a1" && explorer.interceptions == 2 && explorer.totalCostNanoDollars == 3 * each)
            #expect(explorer.agentType == "Explore" && explorer.threadRootID == agent.id)
            #expect(explorer.agents.map(\.id) == ["a2"] && explorer.agents[0].parentAgentID == "a1")
            #expect(tree.threads[1].agents.map(\.id) == ["a1"])

            // Whoever reads what others asked is on record; who may not read it finds nothing.
            let auditor = Client(url: scene.server.url, token: scene.auditor)
            #expect(try await auditor.get(path).json(AISessionTree.self) == tree)
            let reads = try await auditor.get(APIPaths.audit + "/facts?kind=content.list").json(AuditFactList.self)
            #expect(reads.facts.map { $0.details["sessions"] } == [Self.session])
            let eve = try await People.token(scene.pool, "eve", roles: [.member])
            #expect(try await Client(url: scene.server.url, token: eve).get(path).status == 404)

            let client = try RunningClient(["usage", "session", Self.session], url: scene.server.url, token: scene.token)
            #expect(await client.ended() == 0, "\(client.notes)")
            let shown = client.output
            #expect(
                shown.contains("first prompt") && shown.contains("  Explore a1") && shown.contains("    Explore a2"), "\(shown)")

            // The claims are part of the record.
            let verified = try await auditor.post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(AuditVerification.self)
            #expect(verified.ok, "\(verified.problems)")
            try await scene.pool.execute("UPDATE ai_interceptions SET agent_id = 'a9' WHERE agent_id = 'a2'")
            let tampered = try await auditor.post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(AuditVerification.self)
            #expect(!tampered.ok)
        }
    }
}
