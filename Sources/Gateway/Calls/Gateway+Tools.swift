import Core
import Foundation
import Policies

/// Rules about the tools of tasks, for the loop.
extension Gateway {
    package enum TaskToolVerdict: Sendable, Equatable {
        case allowed
        case refused(String)
        case needsApproval(String)
    }

    /// What the policies say of a call that a task's model asks for. What they refuse or make wait is on record first.
    package func judge(tool: String, arguments: String, for principal: Principal) async throws -> TaskToolVerdict {
        let current = try settings.current()
        let set = current.policies.set(of: principal.organization)
        guard set.hasToolRules else { return .allowed }
        var base = current.facts(principal, set)
        base.client = "Slipway"
        base.requestClass = .background
        guard let decision = ToolRuling(set, base)?.decide(tool: tool, arguments: arguments) else { return .allowed }
        if decision.effect != .allow || !decision.flags.isEmpty {
            try await facts.record(
                principal, kind: "task.tool", subject: principal.task?.description ?? "",
                ["tool": tool.storable(upTo: 200), "effect": decision.effect.rawValue, "rule": decision.record])
        }
        switch decision.effect {
        case .allow: return .allowed
        case .deny, .redact: return .refused("\(decision.reason) (policy rule \(decision.rule))")
        case .requireApproval: return .needsApproval("\(decision.reason) (policy rule \(decision.rule))")
        }
    }
}
