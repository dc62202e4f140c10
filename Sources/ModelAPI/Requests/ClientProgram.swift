import Foundation

/// Which program makes a call, and in which of its sessions, from headers alone (and the one body field that Claude Code uses).
/// Claims of the client: good for grouping and showing, never for deciding.
package struct ClientProgram: Sendable, Hashable {
    /// A name as people know it, e.g. `Claude Code`; `Unknown` for others.
    package var client: String
    package var sessionID: String?
    /// Nil when the client says nothing of its agents.
    package var agent: ClientAgent?

    package static let unknown = "Unknown"

    /// - Parameter metadataUserID: `RequestSummary.metadataUserID`.
    package static func detect(headers: [(name: String, value: String)], metadataUserID: String? = nil) -> ClientProgram {
        var values: [String: String] = [:]
        for header in headers {
            let name = header.name.lowercased()
            // The first one counts; values of other programs' making are bounded before they reach a record.
            if interesting.contains(name), values[name] == nil, !header.value.isEmpty {
                values[name] = String(header.value.prefix(name == "x-claude-code-prev-tool-durations" ? 4096 : 256))
            }
        }
        let client = name(userAgent: values["user-agent"] ?? "", values)
        let session = session(of: client, values, metadataUserID)
        return ClientProgram(
            client: client, sessionID: session, agent: .detect(client: client, session: session, values))
    }

    private static let interesting: Set<String> = [
        "user-agent", "originator", "x-cursor-client-version", "x-claude-code-session-id", "x-claude-code-agent-id",
        "x-claude-code-parent-agent-id", "x-claude-code-request-class", "x-claude-code-agent-type", "x-claude-code-compaction",
        "x-claude-code-context-compacted", "x-claude-code-prev-tool-durations", "session_id", "session-id", "thread-id",
        "conversation_id", "x-codex-parent-thread-id", "x-openai-subagent", "x-session-affinity", "x-session-id",
        "x-opencode-session", "x-parent-session-id", "x-mux-workspace-id", "x-interaction-id", "x-client-session-id",
        "x-kilocode-taskid", "x-coder-chat-id", "x-slipway-task-id",
    ]

    /// Beginnings of the user agent, in lower case.
    private static let agents: [(prefix: String, client: String)] = [
        ("slipway/", "Slipway"), ("claude", "Claude Code"), ("codex", "Codex"), ("zed/", "Zed"),
        ("githubcopilotchat/", "GitHub Copilot (VS Code)"), ("copilot/", "GitHub Copilot (CLI)"), ("kilo-code/", "Kilo Code"),
        ("roo-code/", "Roo Code"), ("coder-agents/", "Coder Agents"), ("charm crush/", "Charm Crush"),
        ("charm-crush/", "Charm Crush"),
        ("mux/", "Mux"), ("opencode/", "OpenCode"), ("junie", "Junie"),
    ]

    private static func name(userAgent: String, _ values: [String: String]) -> String {
        let agent = userAgent.lowercased()
        if let match = agents.first(where: { agent.hasPrefix($0.prefix) }) { return match.client }
        if let originator = values["originator"]?.lowercased(), originator.hasPrefix("codex") { return "Codex" }
        if values["x-cursor-client-version"] != nil { return "Cursor" }
        if values["x-claude-code-session-id"] != nil { return "Claude Code" }
        return unknown
    }

    private static func session(of client: String, _ values: [String: String], _ userID: String?) -> String? {
        switch client {
        case "Claude Code": values["x-claude-code-session-id"] ?? userID.flatMap(claudeSession)
        case "Codex": values["session_id"] ?? values["session-id"]
        case "OpenCode":
            values["x-parent-session-id"] ?? values["x-session-affinity"] ?? values["x-session-id"] ?? values["x-opencode-session"]
        case "Mux": values["x-mux-workspace-id"]
        case "GitHub Copilot (VS Code)": values["x-interaction-id"]
        case "GitHub Copilot (CLI)": values["x-client-session-id"]
        case "Kilo Code": values["x-kilocode-taskid"]
        case "Coder Agents": values["x-coder-chat-id"]
        case "Slipway": values["x-slipway-task-id"]
        default: nil
        }
    }

    /// `{"session_id":"…",…}`, or in older versions `user_<hash>_account_<id>_session_<id>`.
    private static func claudeSession(in userID: String) -> String? {
        if userID.hasPrefix("{") {
            var text = userID
            return text.withUTF8 { bytes -> String? in
                var cursor = JSONCursor(UnsafeRawBufferPointer(bytes))
                do throws(JSONFailure) {
                    var walk = try cursor.enterObject()
                    while let key = try cursor.nextKey(&walk) {
                        let value = try cursor.optionalString()
                        if key.equals("session_id"), let value, value.count > 0 { return String(value.string().prefix(256)) }
                    }
                } catch {}
                return nil
            }
        }
        let parts = userID.components(separatedBy: "_session_")
        guard parts.count > 1, let last = parts.last, !last.isEmpty else { return nil }
        return String(last.prefix(256))
    }
}
