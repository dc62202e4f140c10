import AgentProtocol
import Core
import Logging
import NIOCore
import NIOHPACK

/// Answers what an agent asks on its call connection. What it says is testimony: it is logged as the agent's word.
struct AgentCalls: Sendable {
    let workspace: WorkspaceID
    let onLog: @Sendable (WorkspaceID, AgentLogLines) -> Void
    let logger: Logger

    /// One call at a time, until the connection ends: an agent that floods waits for itself.
    func answer(_ tunnel: Tunnel) async {
        do {
            for try await stream in tunnel.inbound {
                do { try await answer(stream) } catch { stream.reset() }
            }
        } catch {}
    }

    private func answer(_ stream: TunnelStream) async throws {
        let head = try await stream.receiveHead()
        switch (head.first(name: ":method"), head.first(name: ":path")) {
        case ("POST", "/v1/logs"):
            let body = try await stream.collect(upTo: 2 << 20)
            guard let batch = try? WireJSON.decode(AgentLogLines.self, from: body) else { return stream.post([":status": "400"]) }
            for line in batch.lines.prefix(1000) {
                logger.log(
                    level: line.level == "error" ? .warning : .debug, "agent: \(Self.printable(line.text))",
                    metadata: ["workspace": "\(workspace)"])
            }
            onLog(workspace, batch)
            stream.post([":status": "200"])
        default: stream.post([":status": "404"])
        }
        await stream.waitUntilClosed()
    }

    /// On one line, without what could steer a terminal.
    private static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(2000).map { $0.value < 32 || $0.value == 127 ? " " : $0 }))
    }
}
