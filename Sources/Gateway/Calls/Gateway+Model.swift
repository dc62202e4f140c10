import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore

/// Identify, decide, hold.
extension Gateway {
    func callModel(_ call: GatewayCall, _ api: ModelProtocol, _ settings: Settings) async throws -> GatewayAnswer {
        let began = ContinuousClock.now
        let key = try IdempotencyKey(call)
        guard settle.pending < admission.limits.pendingSettlements else {
            throw AppError(
                .unavailable, "The database is away and too many calls wait to be booked; new ones are refused until it is back.",
                retry: .after(.seconds(5)))
        }
        try Self.refuseCompressed(call)
        var summary = try RequestSummary.read(call, as: api)
        if api == .gemini { try GeminiQuery.check(route: call.route, isStream: summary.stream) }
        if summary.isBackground {
            throw AppError(
                .badRequest,
                "\"background\" is not served: the answer would come to no call that could be recorded and paid. Leave it out.",
                field: "background")
        }
        var interception = identify(call, api, summary)
        call.trace?.identified(call, interception, summary, api)
        interception.keep(settings.contentMode(of: call.principal.organization))
        var plan: RoutePlan
        do {
            plan = try settings.plan(
                call, api, summary, client: interception.client, seed: interception.clientSession ?? interception.id.description)
        } catch let denied as RoutePlan.Denied {
            interception.policy = denied.policy
            interception.refusal = denied.error
            interception.keep(denied.kept?.content ?? .full)
            call.trace?.denied(by: denied.policy)
            if let provider = denied.provider { interception.name(provider) }
            _ = try? await holds.take(.init(interception: interception, demand: nil))
            throw denied.error
        }
        if let format = call.embedding { plan = try plan.embedding(format, call, summary) }
        interception.policy = plan.targets[0].rule
        interception.keep(plan.kept?.content ?? .full)
        var call = call
        let guarding = try await guarding(&call, &summary, &interception, &plan, api, settings)
        plan = try plan.translated(call, api)
        // Limits count it where it really goes first.
        plan.targets = health.ordered(plan.targets, at: .now)
        interception.name(plan.targets[0].provider)
        interception.policy = plan.targets[0].rule
        interception.price = plan.targets[0].price.id
        let demand = try demand(summary, plan, api, bodyBytes: call.body.readableBytes)
        let prepared = PreparedCall(
            call: call, api: api, interception: interception, summary: summary, demand: demand, plan: plan, began: began,
            guarding: guarding)
        if let key { return try await callKeyed(prepared, KeyClaim(key: key, requestHash: IdempotencyKey.requestHash(call))) }
        let record = try await hold(prepared)
        do {
            return try await relayOn(record, plan)
        } catch {
            throw EndedCall(error: error as? AppError ?? AppError(.unavailable, "The call was cancelled."))
        }
    }

    /// - Throws: `KeyTaken` when the claim is another call's, and what the hold is refused with. No record stands then.
    func hold(_ prepared: PreparedCall, _ claim: KeyClaim? = nil) async throws -> CallRecord {
        let (call, target) = (prepared.call, prepared.plan.targets[0])
        let grant = try await gate.take(prepared.interception, prepared.demand, CallClass(call), target, claim)
        meters.held(in: prepared.began.duration(to: .now))
        return CallRecord(
            .init(
                call: call, interception: prepared.interception, summary: prepared.summary, demand: prepared.demand, grant: grant,
                api: prepared.api, began: prepared.began, guarding: prepared.guarding),
            target: target, callServices)
    }

    /// A body that has to be unpacked could be a bomb, and what cannot be read cannot be judged.
    private static func refuseCompressed(_ call: GatewayCall) throws(AppError) {
        for header in call.headers where header.name.utf8.count == 16 && header.name.lowercased() == "content-encoding" {
            if header.value.lowercased() == "identity" { continue }
            throw AppError(
                .badRequest,
                "The request body is compressed (content-encoding: \(header.value.prefix(32))); the gateway takes bodies as they are. Switch compression of requests off in the client.",
                field: "content-encoding")
        }
    }

    private func identify(_ call: GatewayCall, _ api: ModelProtocol, _ summary: RequestSummary) -> NewInterception {
        let program = ClientProgram.detect(headers: call.headers, metadataUserID: summary.metadataUserID)
        let toolCall = summary.lastToolResultIDs.last?.storable(upTo: 512)
        var interception = NewInterception(
            id: call.id, organization: call.principal.organization, initiator: call.principal.user, token: call.principal.token,
            task: call.principal.task, replica: configuration.replica, requestID: call.requestID.storable(upTo: 128),
            provider: ModelRoute.path, providerName: call.provider.storable(upTo: 64), modelProtocol: call.protocolName(api),
            route: call.route.storable(upTo: 256), model: summary.model.storable, isStreamed: summary.stream,
            client: program.client,
            clientSession: program.sessionID?.storable, agent: program.agent?.storable, toolCall: toolCall,
            thread: toolCall.flatMap { threads.place(of: $0, user: call.principal.user) },
            credentialHint: nil,
            policy: "", requestHash: call.body.withUnsafeReadableBytes { Data(SHA256.hash(bytes: $0)) },
            requestSize: call.body.readableBytes,
            promptHash: Content.promptHash(summary.storablePrompt, summary.storableResults))
        if case .loop(let task, let step) = call.origin {
            interception.task = task
            interception.taskStep = step
            interception.client = "Slipway"
            interception.clientSession = task.description
        }
        return interception
    }

    /// What the dearest of the targets may cost.
    ///
    /// - Throws: `badRequest` for more than any budget can have.
    private func demand(
        _ summary: RequestSummary, _ plan: RoutePlan, _ api: ModelProtocol, bodyBytes: Int
    ) throws(AppError) -> HoldDemand {
        var dearest: HoldDemand?
        for target in plan.targets {
            let price = target.price
            let demand = HoldDemand(
                price: price,
                inputTokens: summary.inputTokenBound(
                    bodyBytes: max(bodyBytes, target.translation?.upstream.body.readableBytes ?? 0)) ?? price.contextTokens
                    * max(1, summary.embeddings ?? 1),
                outputTokens: (summary.maxOutputTokens ?? price.maxOutputTokens) * max(1, summary.answers),
                webSearches: summary.refersToStoredInput ? 10 : 0, canBeCut: summary.stream,
                requested: summary.serviceTier)
            dearest =
                dearest.map {
                    HoldDemand(
                        full: max($0.full, demand.full), least: max($0.least, demand.least), tokens: max($0.tokens, demand.tokens))
                } ?? demand
        }
        if let full = dearest?.full, full > BudgetService.highestCap {
            let field = api.outputLimitField
            throw AppError(
                .badRequest,
                "The call could cost \(full) at its longest, more than any budget can have (\(BudgetService.highestCap)): lower \(field)\(summary.answers > 1 ? ", or the number of answers" : "").",
                field: field)
        }
        return dearest ?? HoldDemand(full: .zero, least: .zero)
    }
}

extension ModelProtocol {
    /// Where a client says how long an answer may be.
    var outputLimitField: String {
        switch self {
        case .messages, .chatCompletions: "max_tokens"
        case .responses: "max_output_tokens"
        case .gemini: "generationConfig.maxOutputTokens"
        }
    }
}

extension NewInterception {
    /// What is on record of where the call goes first.
    mutating func name(_ provider: Provider) {
        self.provider = provider.type.rawValue
        credentialHint = provider.keys.first?.hint
    }
}
