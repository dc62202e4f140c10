import Core
import Foundation
import ModelAPI
import NIOCore
import Policies

/// What the policies say of a call of an MCP server's tool: of the tool, of what it is called with, and of what comes back.
struct ToolGuard: Sendable {
    private let ruling: ToolRuling?
    private let decisions: DataDecisions?

    /// Nil: no rule is about tools or data.
    init?(_ settings: Settings, _ principal: Principal, client: String) {
        let set = settings.policies.set(of: principal.organization)
        guard set.hasContentRules else { return nil }
        var facts = settings.facts(principal, set)
        facts.client = client
        ruling = ToolRuling(set, facts)
        decisions = DataDecisions(set, facts)
        if ruling == nil, decisions == nil { return nil }
    }

    /// Whether a tool is refused whatever it is called with.
    func refusesAlways(server: String, tool: String) -> Bool { ruling?.refusesAlways(server: server, tool: tool) ?? false }

    struct Judged: Sendable {
        /// Nil: no rule decided.
        var decision: ToolDecision?
        /// Without what rules take out.
        var arguments: String
        /// What is put on record of them: also without what rules refused.
        var recorded: String
        var findings: [ContentFinding] = []
    }

    func judge(server: String, tool: String, arguments: String) -> Judged {
        var judged = Judged(arguments: arguments, recorded: arguments)
        if let ruling {
            let decision = ruling.decide(server: server, tool: tool, arguments: arguments)
            judged.findings = decision.findings(tool: tool)
            judged.decision = decision.tool
        }
        if let decisions {
            let body = ByteBuffer(string: arguments)
            let scan = BodyScan(body, decisions, of: .toolInput)
            judged.findings += scan.findings
            judged.recorded = String(buffer: scan.withoutFindings(body))
            judged.arguments = judged.recorded
            if let refusal = scan.refusal, judged.decision?.isAllowed != false {
                let rule = scan.findings.first { $0.effect == .blocked }?.rule ?? ""
                judged.decision = .deny(rule: rule, reason: refusal.message)
            }
        }
        return judged
    }

    /// - Returns: the result without what rules take out, or why it is withheld.
    func judge(result: String) -> (result: String, refusal: MCPError?, findings: [ContentFinding]) {
        guard let decisions else { return (result, nil, []) }
        let body = ByteBuffer(string: result)
        let scan = BodyScan(body, decisions, of: .toolResult)
        if let refusal = scan.refusal {
            let rule = scan.findings.first { $0.effect == .blocked }?.rule ?? ""
            return ("", .refused(refusal.message, rule: rule), scan.findings)
        }
        return (scan.edits.isEmpty ? result : String(buffer: scan.withoutFindings(body)), nil, scan.findings)
    }
}

extension MCPError {
    /// A rule refuses it.
    static func refused(_ message: String, rule: String) -> MCPError {
        MCPError(denied, message, data: "{\"code\":\"policy_denied\",\"rule\":\(JSONText.quoted(rule))}")
    }
}

extension PolicyDecision {
    /// Nil: no rule decided.
    fileprivate var tool: ToolDecision? {
        switch effect {
        case .allow: rule == PolicySet.fallback ? nil : .allow(rule: rule)
        case .requireApproval: .approval(rule: rule, reason: "\(reason) (policy rule \(rule))")
        case .deny, .redact: .deny(rule: rule, reason: "\(reason) (policy rule \(rule))")
        }
    }
}
