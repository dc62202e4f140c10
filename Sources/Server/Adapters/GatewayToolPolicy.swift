import AgentLoop
import Core
import Gateway

/// The loop's tool calls are decided by the gateway's policies.
struct GatewayToolPolicy: ToolPolicy {
    let gateway: Gateway

    func verdict(on tool: String, arguments: String, task: TaskID, for principal: Principal) async throws -> ToolVerdict {
        switch try await gateway.judge(tool: tool, arguments: arguments, for: principal) {
        case .allowed: .allowed
        case .refused(let text): .refused(text)
        case .needsApproval(let text): .needsApproval(text)
        }
    }
}
