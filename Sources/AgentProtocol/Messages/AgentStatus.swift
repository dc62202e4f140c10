import FoundationEssentials

/// What an agent says of itself: testimony, shown as such.
package struct AgentStatus: Codable, Sendable, Hashable {
    package var version: String
    /// Random per start of the sandbox.
    package var sandbox: String
    package var start: Int
    package var startedAt: Date
    package var runningProcesses: Int
    package var knownCalls: Int
    /// The highest fence seen, by scope.
    package var fences: [String: Int64]
    /// What is free for journal and output.
    package var freeDiskBytes: Int64

    package init(
        version: String, sandbox: String, start: Int, startedAt: Date, runningProcesses: Int, knownCalls: Int,
        fences: [String: Int64], freeDiskBytes: Int64
    ) {
        (self.version, self.sandbox, self.start, self.startedAt) = (version, sandbox, start, startedAt)
        (self.runningProcesses, self.knownCalls, self.fences, self.freeDiskBytes) = (
            runningProcesses, knownCalls, fences, freeDiskBytes
        )
    }
}

/// A batch of the agent's own log lines, sent on the call connection; kept (bounded) while there is none.
package struct AgentLogLines: Codable, Sendable, Hashable {
    package struct Line: Codable, Sendable, Hashable {
        package var at: Date
        package var level: String
        package var text: String

        package init(at: Date, level: String, text: String) { (self.at, self.level, self.text) = (at, level, text) }
    }

    package var lines: [Line]
    /// How many older lines did not fit.
    package var dropped: Int

    package init(lines: [Line], dropped: Int) { (self.lines, self.dropped) = (lines, dropped) }
}
