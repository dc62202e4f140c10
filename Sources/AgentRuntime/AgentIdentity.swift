import AgentProtocol
import FoundationEssentials

/// Who this agent is.
struct AgentIdentity: Sendable {
    let token: String
    /// Random per start of the sandbox.
    let sandbox: String
    /// Which start of the agent within its sandbox this is.
    let start: Int
    let startedAt: Date

    func hello(_ role: Hello.Role) -> Hello {
        Hello(role: role, token: token, agent: ProtocolVersion.software, sandbox: sandbox, start: start)
    }
}
