import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore

/// Identify, decide, hold.
extension Gateway {
    func callModel(_ call: GatewayCall, _ api: ModelProtocol, _ settings: Settings) async throws -> GatewayAnswer {
        let began = ContinuousClock.now
        guard settle.pending < admission.limits.pendingSettlements else {
            throw AppError(
                .unavailable, "The database is away and too many calls wait to be booked; new ones are refused until it is back.",
                retry: .after(.seconds(5)))
        }
        var summary = try RequestSummary.read(call.body, as: api, path: call.route)
        if api == .gemini { try GeminiQuery.check(route: call.route, isStream: summary.stream) }
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
            call.trace?.denied(by: denied.policy)
            if let provider = denied.provider { interception.name(provider) }
            _ = try? await holds.take(.init(interception: interception, demand: nil))
            throw denied.error
        }
        interception.policy = plan.policy
        var call = call
        let guarding = try await guarding(&call, &summary, &interception, &plan, api, settings)
        plan = try plan.translated(call, api)
        interception.name(plan.targets[0].provider)
        interception.price = plan.targets[0].price.id
        let demand = demand(summary, plan, bodyBytes: call.body.readableBytes)
        let grant = try await gate.take(interception, demand, CallClass(call), plan.targets[0])
        meters.held(in: began.duration(to: .now))
        let record = CallRecord(
            .init(
                call: call, interception: interception, summary: summary, demand: demand, grant: grant, api: api, began: began,
                guarding: guarding),
            target: plan.targets[0],
            .init(
                admission: admission, settle: settle, content: content, threads: threads, open: open, relays: relays,
                meters: meters,
                cacheAlarm: cacheAlarm
            ))
        do {
            return try await relay(record, plan)
        } catch {
            throw EndedCall(error: error)
        }
    }

    private func identify(_ call: GatewayCall, _ api: ModelProtocol, _ summary: RequestSummary) -> NewInterception {
        let program = ClientProgram.detect(headers: call.headers, metadataUserID: summary.metadataUserID)
        let toolCall = summary.lastToolResultIDs.last?.storable(upTo: 512)
        var interception = NewInterception(
            id: call.id, organization: call.principal.organization, initiator: call.principal.user, token: call.principal.token,
            task: call.principal.task, replica: configuration.replica, requestID: call.requestID.storable(upTo: 128),
            provider: ModelRoute.path, providerName: call.provider.storable(upTo: 64), modelProtocol: api.rawValue,
            route: call.route.storable(upTo: 256), model: summary.model.storable, isStreamed: summary.stream,
            client: program.client,
            clientSession: program.sessionID?.storable, toolCall: toolCall,
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
    private func demand(_ summary: RequestSummary, _ plan: RoutePlan, bodyBytes: Int) -> HoldDemand {
        var dearest: HoldDemand?
        for target in plan.targets {
            let price = target.price
            let demand = HoldDemand(
                price: price,
                inputTokens: summary.inputTokenBound(
                    bodyBytes: max(bodyBytes, target.translation?.upstream.body.readableBytes ?? 0)) ?? price.contextTokens,
                outputTokens: (summary.maxOutputTokens ?? price.maxOutputTokens) * max(1, summary.answers),
                webSearches: summary.refersToStoredInput ? 10 : 0, canBeCut: summary.stream,
                requested: summary.serviceTier)
            dearest =
                dearest.map {
                    HoldDemand(
                        full: max($0.full, demand.full), least: max($0.least, demand.least), tokens: max($0.tokens, demand.tokens))
                } ?? demand
        }
        return dearest ?? HoldDemand(full: .zero, least: .zero)
    }
}

extension NewInterception {
    /// What is on record of where the call goes first.
    mutating func name(_ provider: Provider) {
        self.provider = provider.type.rawValue
        credentialHint = provider.keys.first?.hint
    }
}
