import Core
import Foundation
import ModelAPI
import Policies

/// One place that a call can be sent to. A class: it is handed on many times in each call, and has dozens of fields.
final class Target: Sendable {
    let provider: Provider
    let model: String
    /// What is spoken to it.
    let api: ModelProtocol
    let price: ModelPrice
    /// Nil: it speaks the client's own protocol, and bytes pass as they are.
    let format: UpstreamFormat?
    /// Of a target with a format, once the call is translated.
    let translation: Translation?
    /// The rule that lets the call pass to it, as a record names it (`PolicyDecision.record`).
    let rule: String

    init(
        provider: Provider, model: String, api: ModelProtocol, price: ModelPrice, format: UpstreamFormat?,
        translation: Translation? = nil, rule: String = ""
    ) {
        self.provider = provider
        self.model = model
        self.api = api
        self.price = price
        self.format = format
        self.translation = translation
        self.rule = rule
    }

    func translated(_ translation: Translation) -> Target {
        Target(provider: provider, model: model, api: api, price: price, format: format, translation: translation, rule: rule)
    }

    /// With the rule that says what is kept of the call, whichever place it was about.
    func marked(_ kept: PolicyDecision.Kept?) -> Target {
        guard let kept else { return self }
        return Target(
            provider: provider, model: model, api: api, price: price, format: format, translation: translation,
            rule: kept.marked(rule))
    }

    /// `anthropic/claude-haiku-4-5`, for logs and records.
    var name: String { "\(provider.name)/\(model)" }
}

/// Where a call may go, in the order in which it is tried.
struct RoutePlan: Sendable {
    /// Never empty.
    var targets: [Target]
    /// The call came in under `auto`: its answer says where it went.
    var isRouted: Bool
    /// What rules leave of the call's content on record; wherever it goes of these places. Nil: no rule says so.
    var kept: PolicyDecision.Kept?
    /// Nil: it is sent once.
    var hedging: Hedging?

    /// Why a call may go nowhere; its record names the first.
    struct Denied: Error {
        var error: AppError
        var policy: String
        var provider: Provider?
        var kept: PolicyDecision.Kept?

        /// Beside the rule that lets a call pass whose model has no price.
        static let unpriced = "price:none"
    }
}

extension Settings {
    /// - Parameter client: as `ClientProgram` names it.
    /// - Throws: `RoutePlan.Denied`; `AppError` for a provider or route that is not there.
    func plan(
        _ call: GatewayCall, _ api: ModelProtocol, _ summary: RequestSummary, client: String, seed: @autoclosure () -> String
    ) throws -> RoutePlan {
        let organization = call.principal.organization
        var denied: RoutePlan.Denied?
        var targets: [Target] = []
        var isRouted = call.provider == ModelRoute.path
        var (places, hedging) = try choices(call, summary, seed)
        var sender: String?
        var kept: PolicyDecision.Kept?
        if policies.set(of: organization).hasRoutes, let sent = try elsewhere(places, call, api, client, seed) {
            (places, sender, hedging) = (sent.choices, sent.rule, sent.hedging)
            // What is kept of the call as it was asked holds wherever it goes.
            kept = sent.kept
            isRouted = true
        }
        for choice in places {
            guard let provider = provider(named: choice.provider, organization: organization), provider.isEnabled else { continue }
            do {
                let (target, its) = try target(provider, choice.model, api, call, client, sentBy: sender)
                kept = .least(kept, its)
                targets.append(target)
            } catch let error as RoutePlan.Denied {
                kept = .least(kept, error.kept)
                denied = denied ?? error
            }
        }
        if !targets.isEmpty {
            return RoutePlan(targets: targets.map { $0.marked(kept) }, isRouted: isRouted, kept: kept, hedging: hedging)
        }
        if var denied {
            denied.kept = kept
            if let kept { denied.policy = kept.marked(denied.policy) }
            throw denied
        }
        throw RoutePlan.Denied(
            error: AppError(
                .unavailable,
                "No provider of the route '\(summary.model.prefix(128))' is enabled; an admin can change it: slipway routes list."
            ), policy: "", provider: nil, kept: kept)
    }

    /// Where a rule sends a call that may be made; nil: where it asks to go. What then decides about the places there sends it no further.
    ///
    /// - Throws: `RoutePlan.Denied` when the rule's route is not there: it must not go where it asks to.
    private func elsewhere(
        _ choices: [ModelRoute.Choice], _ call: GatewayCall, _ api: ModelProtocol, _ client: String, _ seed: () -> String
    ) throws -> (choices: [ModelRoute.Choice], rule: String, hedging: Hedging?, kept: PolicyDecision.Kept?)? {
        guard let first = choices.first else { return nil }
        let decision = decide(call, client: client, provider: first.provider, model: first.model, api: api)
        guard decision.effect == .allow, let sent = decision.route else { return nil }
        guard let route = route(named: sent.target, organization: call.principal.organization) else {
            throw RoutePlan.Denied(
                error: AppError(
                    .policyDenied,
                    "A rule sends this call to the route '\(sent.target)', which is not there. Ask an admin: slipway routes list. (policy rule \(sent.rule))"
                ), policy: decision.record, provider: nil, kept: decision.kept)
        }
        return (route.order(seed: seed()), sent.rule, route.hedging, decision.kept)
    }

    private func choices(_ call: GatewayCall, _ summary: RequestSummary, _ seed: () -> String) throws -> (
        [ModelRoute.Choice], Hedging?
    ) {
        let organization = call.principal.organization
        guard call.provider == ModelRoute.path else {
            guard let provider = provider(named: call.provider, organization: organization), provider.isEnabled else {
                throw unknownProvider(call)
            }
            return ([.init(provider: provider.name, model: summary.model)], nil)
        }
        if let route = route(named: summary.model, organization: organization) {
            return (route.order(seed: seed()), route.hedging)
        }
        let parts = summary.model.split(separator: "/", maxSplits: 1)
        if parts.count == 2, provider(named: String(parts[0]), organization: organization) != nil {
            return ([.init(provider: String(parts[0]), model: String(parts[1]))], nil)
        }
        let priced = providers(of: organization).filter { $0.isEnabled && price(of: summary.model, $0) != nil }
        if let first = priced.first { return ([.init(provider: first.name, model: summary.model)], nil) }
        throw AppError(
            .notFound,
            "There is no route '\(summary.model.prefix(128))', and no enabled provider has a price for a model of that name. See slipway routes list and slipway models list.",
            field: "model")
    }

    /// - Parameter sender: the rule that sent the call here.
    private func target(
        _ provider: Provider, _ model: String, _ api: ModelProtocol, _ call: GatewayCall, _ client: String,
        sentBy sender: String?
    ) throws -> (Target, PolicyDecision.Kept?) {
        let decision = decide(call, client: client, provider: provider.name, model: model, api: api)
        let rule = decision.record(sentBy: sender)
        if let refusal = decision.refusal {
            throw RoutePlan.Denied(error: refusal, policy: rule, provider: provider, kept: decision.kept)
        }
        let format = provider.format(for: api, model: model)
        guard format == nil || api != .gemini else {
            throw RoutePlan.Denied(
                error: AppError(
                    .notFound,
                    "The provider '\(provider.name)' is of type \(provider.type.rawValue); Gemini's protocol is served by gemini providers only."
                ),
                policy: rule, provider: provider, kept: decision.kept)
        }
        guard !provider.usableKeys.isEmpty else {
            throw RoutePlan.Denied(
                error: AppError(
                    .unavailable,
                    "The provider '\(provider.name)' has no key; an admin can add one: slipway providers key \(provider.name)."),
                policy: rule, provider: provider, kept: decision.kept)
        }
        guard let price = price(of: model, provider) else {
            throw RoutePlan.Denied(
                error: AppError(
                    .policyDenied,
                    "The model '\(model)' has no price, so no budget could cover it. An admin can add one: slipway models price \(model) --type \(provider.type.rawValue) --input-price <dollars per million tokens> --output-price <…>."
                ), policy: rule + " " + RoutePlan.Denied.unpriced, provider: provider, kept: decision.kept)
        }
        return (
            Target(provider: provider, model: model, api: format?.api ?? api, price: price, format: format, rule: rule),
            decision.kept
        )
    }

    func price(of model: String, _ provider: Provider) -> ModelPrice? {
        let now = Date()
        for type in provider.type.priceTypes {
            if let price = prices.price(
                of: model, type: type, named: provider.name, organization: provider.organization, at: now)
            {
                return price
            }
        }
        return nil
    }

    func unknownProvider(_ call: GatewayCall) -> AppError {
        let names = providers(of: call.principal.organization).filter(\.isEnabled).map(\.name)
        let known = names.isEmpty ? "none is set up yet: slipway providers add" : "there are: \(names.joined(separator: ", "))"
        return AppError(.notFound, "There is no provider named '\(call.provider.prefix(64))' (\(known)).", field: "provider")
    }
}
