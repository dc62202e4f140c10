import Core
import Foundation
import ModelAPI
import NIOCore

/// For the loop.
extension Gateway {
    /// Where a model is to be asked for.
    package struct ResolvedModel: Sendable, Equatable {
        package var provider: String
        package var model: String
        package var api: ModelProtocol
        package var route: String
    }

    /// - Parameter name: a route, `<provider>/<model>`, or a model that exactly one enabled provider (by name order) has a price for.
    /// - Throws: `notFound` that says which models there are.
    package func resolve(model name: String, for principal: Principal) throws -> ResolvedModel {
        let current = try settings.current()
        let enabled = current.providers(of: principal.organization).filter(\.isEnabled)
        func priced(_ provider: Provider, _ model: String) -> Bool { current.price(of: model, provider) != nil }
        func resolved(_ provider: Provider, _ model: String) -> ResolvedModel {
            let api = provider.type.format.api
            return ResolvedModel(provider: provider.name, model: model, api: api, route: api.route(model: model, stream: true))
        }
        if let route = current.route(named: name, organization: principal.organization),
            let choice = route.tiers.first?.first, let provider = enabled.first(where: { $0.name == choice.provider })
        {
            var found = resolved(provider, name)
            found.provider = ModelRoute.path
            return found
        }
        let parts = name.split(separator: "/", maxSplits: 1)
        if parts.count == 2, let provider = enabled.first(where: { $0.name == parts[0] }), priced(provider, String(parts[1])) {
            return resolved(provider, String(parts[1]))
        }
        if let provider = enabled.first(where: { priced($0, name) }) { return resolved(provider, name) }
        let providers = enabled.map(\.name).joined(separator: ", ")
        throw AppError(
            .notFound,
            "No enabled provider has a price for the model '\(name.prefix(128))' (providers: \(providers.isEmpty ? "none; an admin adds one with 'slipway providers add'" : providers)). See slipway models list.",
            field: "model")
    }

    /// The whole answer of a call that was settled and complete; nil when there is none, so that the call has to be made again.
    package func recordedAnswer(_ id: InterceptionID, for principal: Principal) async throws -> RecordedAnswer? {
        let rows = try await configuration.pool.query(
            """
            SELECT i.http_status, i.protocol, l.cost FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id
            WHERE i.id = \(id) AND i.organization_id = \(principal.organization) AND i.initiator_id = \(principal.user)
              AND i.status = 'completed' AND l.state <> 'unknown'
            ORDER BY l.attempt DESC LIMIT 1
            """)
        guard let row = rows.first, let api = ModelProtocol(rawValue: try row["protocol"]),
            let body = try await contentStore.body(principal.organization, id, .answer), body.state == .complete
        else { return nil }
        return RecordedAnswer(
            status: try row["http_status"], contentType: body.contentType, body: ByteBuffer(bytes: body.bytes),
            cost: try row["cost"], api: api)
    }
}
