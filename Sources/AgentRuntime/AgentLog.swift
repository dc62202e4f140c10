import AgentProtocol
import FoundationEssentials
import Glibc
import NIOConcurrencyHelpers
import NIOCore

/// The agent's own lines: into the sandbox's log, and kept (the last 500) until a server takes them.
final class AgentLog: Sendable {
    private struct State {
        var lines: [AgentLogLines.Line] = []
        var dropped = 0
    }

    /// Rings at each line.
    let added: Bell
    private let state = NIOLockedValueBox(State())

    private let descriptor: Int32

    init(loop: any EventLoop, descriptor: Int32 = 2) { (added, self.descriptor) = (Bell(loop: loop), descriptor) }

    func info(_ text: String) { add("info", text) }
    func error(_ text: String) { add("error", text) }

    /// All that was kept, which is then forgotten; nil if there is nothing.
    func take() -> AgentLogLines? {
        state.withLockedValue { state in
            guard !state.lines.isEmpty else { return nil }
            defer { state = State() }
            return AgentLogLines(lines: state.lines, dropped: state.dropped)
        }
    }

    /// They could not be delivered after all.
    func putBack(_ batch: AgentLogLines) {
        state.withLockedValue { state in
            state.lines = batch.lines + state.lines
            state.dropped += batch.dropped
            Self.trim(&state)
        }
    }

    private func add(_ level: String, _ text: String) {
        let text = String(text.prefix(2000))
        try? writeAll(descriptor, Array("agent: \(level): \(text)\n".utf8))
        state.withLockedValue { state in
            state.lines.append(.init(at: ProcessTable.date(wallMilliseconds()), level: level, text: text))
            Self.trim(&state)
        }
        added.ring()
    }

    private static func trim(_ state: inout State) {
        let extra = state.lines.count - 500
        guard extra > 0 else { return }
        state.lines.removeFirst(extra)
        state.dropped += extra
    }
}
