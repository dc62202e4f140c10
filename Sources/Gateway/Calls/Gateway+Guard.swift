import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore

/// Rules about content, before a prompt is sent.
extension Gateway {
    /// Looking through more than this would keep the event loop that the call runs on from its other connections.
    static let largestInPlace = 32 << 10

    /// Looks through the prompt: what rules take out of it is gone from `call` afterwards, and from all that is recorded of it.
    ///
    /// - Returns: what is to be done with the answer; nil when no rule about content holds for the call.
    /// - Throws: `policyDenied`; the call is then on record.
    func guarding(
        _ call: inout GatewayCall, _ summary: inout RequestSummary, _ interception: inout NewInterception, _ plan: inout RoutePlan,
        _ api: ModelProtocol, _ settings: Settings
    ) async throws -> CallGuard? {
        if !settings.policies.set(of: call.principal.organization).hasContentRules { return nil }
        let client = interception.client
        let result: GuardedPrompt
        if call.body.readableBytes <= Self.largestInPlace {
            result = settings.guarding(call, plan, api, client: client)
        } else {
            let (given, planned) = (call, plan)
            result = await withTaskExecutorPreference(globalConcurrentExecutor) {
                settings.guarding(given, planned, api, client: client)
            }
        }
        interception.findings = result.findings
        if let refusal = result.refusal {
            interception.policy = result.findings.first { $0.effect == .blocked }?.rule ?? interception.policy
            interception.refusal = refusal
            if let provider = plan.targets.first?.provider { interception.name(provider) }
            _ = try? await holds.take(.init(interception: interception, demand: nil))
            throw refusal
        }
        // Of several answers only the first is read.
        if result.guarding?.tools != nil, summary.answers > 1 {
            throw AppError(
                .badRequest, "Rules about tools hold for this call, and they are asked about one answer: ask for n = 1.", field: "n"
            )
        }
        if result.guarding?.decisions != nil, summary.holdsTokens {
            throw AppError(
                .badRequest,
                "Rules about data hold for this call, and numbers of tokens cannot be looked through: send the input as text.",
                field: "input")
        }
        plan.targets = result.targets
        if result.isChanged {
            call.body = result.body
            summary = try RequestSummary.read(call, as: api)
            if interception.contentMode.keepsHashes {
                interception.requestHash = call.body.withUnsafeReadableBytes { Data(SHA256.hash(bytes: $0)) }
                interception.requestSize = call.body.readableBytes
                interception.promptHash = Content.promptHash(summary.storablePrompt, summary.storableResults)
            }
        }
        return result.guarding
    }
}
