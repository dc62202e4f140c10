import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOCore

/// Model lists and token counts.
extension Gateway {
    func passFree(_ call: GatewayCall, _ settings: Settings) async throws -> GatewayAnswer {
        if call.method == "POST" { return try await countTokens(call, settings) }
        if call.provider == ModelRoute.path { return modelList(call, settings) }
        guard let provider = settings.provider(named: call.provider, organization: call.principal.organization),
            let key = health.keys(of: provider, at: .now).first
        else {
            throw AppError(
                .unavailable,
                "The provider '\(call.provider)' has no key; an admin can add one: slipway providers key \(call.provider).")
        }
        if provider.type == .bedrock {
            throw AppError(.notFound, "Bedrock's own endpoint has no list of models; see slipway models list.")
        }
        return try await pass(call, provider, key, route: call.route, body: call.body)
    }

    private func pass(
        _ call: GatewayCall, _ provider: Provider, _ key: Provider.Key, route: String, body: ByteBuffer
    ) async throws -> GatewayAnswer {
        var request = HTTPClientRequest(
            method: call.method, url: provider.url(for: route),
            headers: HeaderEdits.upstream(call.headers, key: key.secret, type: provider.type),
            body: body.readableBytes > 0 ? body : nil, timeouts: configuration.timeouts,
            allowPrivateAddresses: provider.allowsPrivateAddresses)
        request.mayBeSentAgain = true  // it costs nothing and changes nothing
        let response = try await configuration.transport.send(request)
        // Not modified is no redirect.
        if response.status != 304 { try refuseRedirect(response, provider) }
        let answer = try await response.body.collect(upTo: 8 << 20)
        return GatewayAnswer(
            status: response.status,
            headers: HeaderEdits.client(response.headers, interception: call.id).filter { $0.name != "x-slipway-interception-id" },
            body: GatewayBody(answer))
    }

    /// The prompt goes to a provider, so policies are asked as for any call. The first target counts that speaks the client's protocol, else
    /// the first of all in its own words.
    private func countTokens(_ call: GatewayCall, _ settings: Settings) async throws -> GatewayAnswer {
        var call = call
        let api: ModelProtocol = call.route.contains("countTokens") ? .gemini : .messages
        var summary = try RequestSummary.read(call.body, as: api, path: call.route)
        let client = ClientProgram.detect(headers: call.headers, metadataUserID: nil).client
        let plan: RoutePlan
        do {
            plan = try settings.plan(call, api, summary, client: client, seed: "")
        } catch let denied as RoutePlan.Denied { throw denied.error }
        let target = plan.targets.first { $0.format == nil && $0.provider.type != .bedrock } ?? plan.targets[0]
        call.body = try settings.guardedBody(
            call, provider: target.provider.name, model: target.model, client: client, api: api)
        summary = try RequestSummary.read(call.body, as: api, path: call.route)
        guard let key = health.keys(of: target.provider, at: .now).first else {
            throw AppError(.unavailable, "The provider '\(target.provider.name)' has no key.")
        }
        if target.format != nil || target.provider.type == .bedrock {
            return try await count(call, api, target, key)
        }
        var route = call.route
        if api == .gemini, target.model != summary.model { route = "v1beta/models/\(target.model):countTokens" }
        return try await pass(
            call, target.provider, key, route: route,
            body: BodyEdit.apply(all: [BodyEdit.model(target.model, summary)].compactMap { $0 }, to: call.body))
    }

    /// Under `auto`: its routes and the priced models of all providers, in the shape that Anthropic's and OpenAI's clients both read.
    private func modelList(_ call: GatewayCall, _ settings: Settings) -> GatewayAnswer {
        let organization = call.principal.organization
        let providers = settings.providers(of: organization).filter(\.isEnabled)
        var names = settings.routes(of: organization).map(\.name)
        for (price, _) in settings.prices.all(organization: organization, at: Date()) {
            for provider in providers where provider.type.priceTypes.contains(price.providerType) {
                guard price.model.hasPrefix("demo-") == (provider.origin == .demo) else { continue }
                names.append("\(provider.name)/\(price.model)")
            }
        }
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let list = ListedModels(data: names.map { ListedModels.Model(id: $0, displayName: $0) })
        let bytes = (try? encoder.encode(list)) ?? Data()
        return GatewayAnswer(
            status: 200, headers: [(name: "content-type", value: "application/json")],
            body: GatewayBody(ByteBuffer(bytes: bytes)))
    }
}

private struct ListedModels: Encodable {
    struct Model: Encodable {
        var id: String
        var type = "model"
        var object = "model"
        var displayName: String
        var created = 0
        var createdAt = "1970-01-01T00:00:00Z"
        var ownedBy = "slipway"
    }

    var object = "list"
    var data: [Model]
    var hasMore = false
}
