import Testing

@testable import ModelAPI

@Suite struct ClientProgramTests {
    private static func detect(_ headers: [String: String], _ userID: String? = nil) -> ClientProgram {
        ClientProgram.detect(headers: headers.map { (name: $0.key, value: $0.value) }, metadataUserID: userID)
    }

    @Test(arguments: [
        ("claude-cli/2.0.1 (external, cli)", "Claude Code"), ("codex_cli_rs/0.5", "Codex"), ("Zed/0.2", "Zed"),
        ("GitHubCopilotChat/0.30", "GitHub Copilot (VS Code)"), ("copilot/1.0", "GitHub Copilot (CLI)"),
        ("Kilo-Code/4", "Kilo Code"),
        ("roo-code/3", "Roo Code"), ("coder-agents/1", "Coder Agents"), ("Charm Crush/0.1", "Charm Crush"), ("mux/1", "Mux"),
        ("opencode/1", "OpenCode"),
        ("slipway/1", "Slipway"), ("Anthropic/Python 0.70", "Unknown"), ("", "Unknown"), ("my claude", "Unknown"),
    ])
    func `the user agent names the client`(agent: String, client: String) {
        #expect(Self.detect(["User-Agent": agent]).client == client)
    }

    @Test func `other headers name those that send no user agent of their own`() {
        #expect(Self.detect(["Originator": "codex_vscode", "User-Agent": "x"]).client == "Codex")
        #expect(Self.detect(["x-cursor-client-version": "1"]).client == "Cursor")
        #expect(Self.detect(["X-Claude-Code-Session-Id": "s"]).client == "Claude Code")
        #expect(Self.detect([:]) == ClientProgram(client: "Unknown"))
    }

    @Test func `the session is where each client puts it`() {
        func session(_ agent: String, _ headers: [String: String], _ userID: String? = nil) -> String? {
            Self.detect(headers.merging(["user-agent": agent]) { a, _ in a }, userID).sessionID
        }
        #expect(session("claude-cli/2", ["X-Claude-Code-Session-Id": "s1"], #"{"session_id":"s2"}"#) == "s1")
        #expect(session("claude-cli/2", [:], #"{"device_id":"d","session_id":"s2"}"#) == "s2")
        #expect(session("claude-cli/1", [:], "user_ab_account_cd_session_0f-1") == "0f-1")
        for none in ["", "user_ab", "user_session_", "{", "{}", #"{"session_id":5}"#, #"{"session_id":""}"#] {
            #expect(session("claude-cli/1", [:], none) == nil)
        }
        #expect(session("codex_cli_rs/1", ["session_id": "c"]) == "c")
        #expect(session("mux/1", ["X-Mux-Workspace-Id": "m"]) == "m")
        #expect(session("GitHubCopilotChat/1", ["x-interaction-id": "i"]) == "i")
        #expect(session("copilot/1", ["X-Client-Session-Id": "x"]) == "x")
        #expect(session("kilo-code/1", ["X-KILOCODE-TASKID": "k"]) == "k")
        #expect(session("coder-agents/1", ["X-Coder-Chat-Id": "h"]) == "h")
        #expect(session("zed/1", ["session_id": "z"]) == nil)
    }

    @Test func `agents of Claude Code are told apart and values are bounded`() {
        let program = Self.detect([
            "user-agent": "claude-cli/2", "X-Claude-Code-Agent-Id": "a", "X-Claude-Code-Parent-Agent-Id": "p",
            "X-Claude-Code-Request-Class": "subagent",
            "X-Claude-Code-Session-Id": String(repeating: "s", count: 10_000),
        ])
        #expect(program.agent == ClientAgent(id: "a", parent: "p", requestClass: "subagent"))
        #expect(program.sessionID?.count == 256)
    }
}

@Suite struct ClientAgentTests {
    private static func agent(_ headers: [String: String]) -> ClientAgent? {
        ClientProgram.detect(headers: headers.map { (name: $0.key, value: $0.value) }).agent
    }

    @Test func `Codex's threads are agents, and one of the session's id is the main one`() {
        let child = [
            "user-agent": "codex_cli_rs/0.124", "session-id": "s", "thread-id": "t1", "x-codex-parent-thread-id": "s",
            "x-openai-subagent": "collab_spawn",
        ]
        #expect(Self.agent(child) == ClientAgent(id: "t1", type: "collab_spawn"))
        let grandchild = child.merging(["thread-id": "t2", "x-codex-parent-thread-id": "t1"]) { $1 }
        #expect(Self.agent(grandchild) == ClientAgent(id: "t2", parent: "t1", type: "collab_spawn"))
        #expect(
            Self.agent(["user-agent": "codex_cli_rs/0.1", "session_id": "s", "x-openai-subagent": "review"])
                == ClientAgent(type: "review"))
        #expect(Self.agent(["user-agent": "codex_cli_rs/0.1", "session_id": "s", "thread-id": "s"]) == nil)
    }

    @Test func `a sub-agent of OpenCode is in the session that started it`() {
        let headers = ["user-agent": "opencode/1.2", "x-session-affinity": "ses_b", "x-parent-session-id": "ses_a"]
        let program = ClientProgram.detect(headers: headers.map { (name: $0.key, value: $0.value) })
        #expect(program.sessionID == "ses_a" && program.agent == ClientAgent(id: "ses_b"))
    }

    @Test func `nobody else's headers make agents`() {
        #expect(Self.agent(["user-agent": "zed/1", "x-codex-parent-thread-id": "a", "x-parent-session-id": "b"]) == nil)
        #expect(Self.agent(["user-agent": "curl", "x-openai-subagent": "a"]) == nil)
    }

    @Test func `hints are bounded, and what is none is left out`() {
        func hints(_ name: String, _ value: String) -> String? {
            Self.agent(["user-agent": "claude-cli/2", "x-claude-code-\(name)": value])?.hints
        }
        let times = ClientAgent.toolTimes("Bash=742; mcp__a__b=9;=3;Read;X=-1;Y=1e9;Z=99999999999")
        #expect(times.map(\.tool) == ["Bash", "mcp__a__b"] && times.map(\.milliseconds) == [742, 9])
        let many = (0..<5000).map { "t\($0)=\($0)" }.joined(separator: ";")
        #expect(hints("prev-tool-durations", many)?.components(separatedBy: "\"tool\"").count == ClientAgent.mostDurations + 1)
        #expect((hints("prev-tool-durations", String(repeating: "x", count: 100_000) + "=1")) == nil)
        #expect(hints("context-compacted", "true") == #"{"context_compacted":true}"#)
        #expect(hints("context-compacted", "false") == nil)
        #expect(hints("compaction", "a\"b") == #"{"compaction":"a\"b"}"#)
    }
}
