/// Which of a client's own agents makes a call, and for whom: claims of the client, good for adding up and never for deciding.
///
/// An agent is not a user. The main agent of a session has no id.
package struct ClientAgent: Sendable, Hashable {
    package var id: String?
    /// The agent that started it; nil: the main one.
    package var parent: String?
    /// In the client's own words, e.g. `Explore` or `collab_spawn`.
    package var type: String?
    /// Claude Code: `main`, `subagent`, `workflow`, `compaction` or `auxiliary`.
    package var requestClass: String?
    /// A JSON object with any of `compaction` (text), `context_compacted` (true), `tool_milliseconds` (tools by name).
    package var hints: String?

    package init(id: String? = nil, parent: String? = nil, type: String? = nil, requestClass: String? = nil, hints: String? = nil) {
        self.id = id
        self.parent = parent
        self.type = type
        self.requestClass = requestClass
        self.hints = hints
    }

    /// - Returns: nil when the client says nothing of its agents.
    static func detect(client: String, session: String?, _ values: [String: String]) -> ClientAgent? {
        let agent =
            switch client {
            case "Claude Code": claude(values)
            case "Codex": codex(values, session)
            case "OpenCode": openCode(values)
            default: ClientAgent()
            }
        return agent == ClientAgent() ? nil : agent
    }

    private static func claude(_ values: [String: String]) -> ClientAgent {
        ClientAgent(
            id: values["x-claude-code-agent-id"], parent: values["x-claude-code-parent-agent-id"],
            type: values["x-claude-code-agent-type"], requestClass: values["x-claude-code-request-class"],
            hints: hints(
                compaction: values["x-claude-code-compaction"], compacted: values["x-claude-code-context-compacted"],
                durations: values["x-claude-code-prev-tool-durations"]))
    }

    /// Codex calls its agents threads. The main one has the session's id; a parent of that id is the main one.
    private static func codex(_ values: [String: String], _ session: String?) -> ClientAgent {
        let type = values["x-openai-subagent"]
        guard let parent = values["x-codex-parent-thread-id"] else { return ClientAgent(type: type) }
        return ClientAgent(
            id: values["thread-id"] ?? values["conversation_id"], parent: parent == session ? nil : parent, type: type)
    }

    /// OpenCode gives each sub-agent a session of its own and names the one that started it.
    private static func openCode(_ values: [String: String]) -> ClientAgent {
        guard values["x-parent-session-id"] != nil else { return ClientAgent() }
        return ClientAgent(id: values["x-session-affinity"] ?? values["x-session-id"] ?? values["x-opencode-session"])
    }

    // MARK: Hints

    /// How many tools of `Bash=742;Read=9` are kept.
    static let mostDurations = 32

    private static func hints(compaction: String?, compacted: String?, durations: String?) -> String? {
        let times = durations.map(toolTimes) ?? []
        let isCompacted = compacted.map { !["", "0", "false"].contains($0.lowercased()) } ?? false
        if compaction == nil, !isCompacted, times.isEmpty { return nil }
        let json = JSONWriter.object { json in
            if let compaction { json.field("compaction", compaction) }
            if isCompacted { json.field("context_compacted", true) }
            if !times.isEmpty {
                json.fieldArray("tool_milliseconds") { list in
                    for time in times {
                        list.object {
                            $0.field("tool", time.tool)
                            $0.field("milliseconds", time.milliseconds)
                        }
                    }
                }
            }
        }
        return json.text
    }

    /// Reads `Bash=742;Read=9`; what is no time is left out.
    static func toolTimes(_ text: String) -> [(tool: String, milliseconds: Int)] {
        var times: [(String, Int)] = []
        for entry in text.split(separator: ";") where times.count < mostDurations {
            let parts = entry.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let time = Int(parts[1].filter { $0 != " " }), (0...86_400_000).contains(time) else { continue }
            let name = parts[0].drop { $0 == " " }.prefix(128)
            if !name.isEmpty { times.append((String(name), time)) }
        }
        return times
    }
}
