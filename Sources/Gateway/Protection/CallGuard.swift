import Core
import ModelAPI
import NIOCore
import Policies

/// What the rules about content say for one call. Calls of people for whom no such rule holds have none.
struct CallGuard: Sendable {
    /// Nil: no rule about data.
    var decisions: DataDecisions?
    /// Nil: no rule about tools, or the loop asks before each of its calls.
    var tools: ToolRuling?

    /// For an answer that comes from this place.
    func at(_ target: Target) -> CallGuard { CallGuard(decisions: decisions, tools: tools?.at(target)) }
}

/// A prompt that rules have looked through.
struct GuardedPrompt: Sendable {
    var body: ByteBuffer
    /// Those that it may go to.
    var targets: [Target]
    var guarding: CallGuard?
    var findings: [ContentFinding] = []
    var refusal: AppError?
    /// Something was taken out of it.
    var isChanged = false
}

extension Settings {
    /// What is asked of the policies for a call to this place.
    func facts(_ call: GatewayCall, client: String, provider: String, model: String, api: String, _ set: PolicySet) -> PolicyFacts {
        var facts = facts(call.principal, set, provider: provider, model: model, api: api)
        facts.bytes = call.body.readableBytes
        facts.tokens = PolicyFacts.tokens(bytes: facts.bytes)
        facts.client = client
        facts.requestClass = call.requestClass
        return facts
    }

    /// Looks through the prompt for the targets of a plan; those to which the prompt must not go are taken out of it.
    ///
    /// Where several are left, the strictest of what is said for them counts.
    ///
    /// - Returns: a refusal when none is left.
    func guarding(_ call: GatewayCall, _ plan: RoutePlan, _ api: ModelProtocol, client: String) -> GuardedPrompt {
        let set = policies.set(of: call.principal.organization)
        var prompt = GuardedPrompt(body: call.body, targets: plan.targets)
        var tools: ToolRuling?
        if call.origin == .http, call.embedding == nil, set.hasToolRules {
            let first = plan.targets[0]
            tools = ToolRuling(
                set,
                facts(call, client: client, provider: first.provider.name, model: first.model, api: call.protocolName(api), set))
            if let injected = call.injected { tools?.exempt = injected }
            prompt.guarding = CallGuard(tools: tools)
        }
        let said = plan.targets.map { target in
            DataDecisions(
                set,
                facts(call, client: client, provider: target.provider.name, model: target.model, api: call.protocolName(api), set))
        }
        guard var decisions = said.compactMap({ $0 }).first else { return prompt }
        let isOne = said.allSatisfy { $0.map { $0.agrees(with: decisions) } ?? false }
        if !isOne {
            var refusal: AppError?
            var kept: [Target] = []
            var merged: DataDecisions?
            for (target, said) in zip(plan.targets, said) {
                if let said, let refused = BodyScan(call.body, said, isAnswer: false).refusal {
                    refusal = refusal ?? refused
                    continue
                }
                kept.append(target)
                guard let said else { continue }
                if merged == nil { merged = said } else { merged?.merge(said) }
            }
            if kept.isEmpty {
                let scan = said[0].map { BodyScan(call.body, $0, isAnswer: false) }
                (prompt.findings, prompt.refusal) = (scan?.findings ?? [], refusal)
                return prompt
            }
            prompt.targets = kept
            guard let merged else { return prompt }
            decisions = merged
        }
        let scan = BodyScan(call.body, decisions, isAnswer: false)
        (prompt.findings, prompt.refusal) = (scan.findings, scan.refusal)
        if scan.refusal != nil { return prompt }
        if !scan.edits.isEmpty {
            prompt.body = BodyEdit.apply(all: scan.edits, to: call.body)
            prompt.isChanged = true
        }
        prompt.guarding = CallGuard(decisions: decisions, tools: tools)
        return prompt
    }

    /// The body of a call that is not recorded (a count of tokens shows the provider the whole prompt), without what rules take out.
    ///
    /// - Throws: `policyDenied`.
    func guardedBody(
        _ call: GatewayCall, provider: String, model: String, client: String, api: ModelProtocol
    ) throws(AppError) -> ByteBuffer {
        let set = policies.set(of: call.principal.organization)
        if set.detectors.isEmpty { return call.body }
        let facts = facts(call, client: client, provider: provider, model: model, api: call.protocolName(api), set)
        guard let decisions = DataDecisions(set, facts) else { return call.body }
        let scan = BodyScan(call.body, decisions, isAnswer: false)
        if let refusal = scan.refusal { throw refusal }
        return scan.edits.isEmpty ? call.body : BodyEdit.apply(all: scan.edits, to: call.body)
    }
}
