import Core
import Foundation
import ModelAPI

/// Custom prices: what an organization pays in place of the list price, or for a model that the book does not know.
package struct PriceService: Sendable {
    let store: PriceStore
    let settings: SettingsCache
    let facts: AuditFacts

    package struct Change: Sendable {
        package var type: ProviderType
        package var model: String
        package var prices: PriceClasses
        package var contextTokens: TokenCount
        package var maxOutputTokens: TokenCount

        package init(
            type: ProviderType, model: String, prices: PriceClasses, contextTokens: TokenCount = 200_000,
            maxOutputTokens: TokenCount = 32_000
        ) {
            self.type = type
            self.model = model
            self.prices = prices
            self.contextTokens = contextTokens
            self.maxOutputTokens = maxOutputTokens
        }
    }

    /// In force from now on; calls that are under way keep the price they began with.
    package func set(_ principal: Principal, _ change: Change) async throws {
        guard !change.model.isEmpty, change.model.utf8.count <= 256 else {
            throw AppError(.badRequest, "model must have 1 to 256 bytes.", field: "model")
        }
        guard change.maxOutputTokens > 0, change.contextTokens >= change.maxOutputTokens, change.contextTokens <= 100_000_000 else {
            throw AppError(
                .badRequest, "max_output_tokens must be above 0 and at most context_tokens, which is at most 100000000.",
                field: "max_output_tokens")
        }
        let classes = [
            change.prices.input, change.prices.cacheRead, change.prices.cacheWrite5m, change.prices.cacheWrite1h,
            change.prices.output,
        ]
        guard classes.allSatisfy({ (0...1_000_000_000_000).contains($0.value) }) else {
            throw AppError(
                .badRequest, "A price is in millionths of a dollar per million tokens, from 0 to 1000000000000.",
                field: "input_per_million")
        }
        let body = ModelPrice.Body(
            contextTokens: change.contextTokens, maxOutputTokens: change.maxOutputTokens,
            standard: change.prices, longContext: nil)
        let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
        let price = try ModelPrice(
            providerType: change.type, model: change.model, validFrom: now, validTo: nil, organization: principal.organization,
            body: body)
        let fact = try AuditFacts.Fact(
            principal, kind: "price.set", subject: "\(change.type.rawValue)/\(change.model)",
            ["price_id": price.id, "input": "\(change.prices.input.value)", "output": "\(change.prices.output.value)"])
        try await facts.record { [store] connection in
            try await store.add(price, organization: principal.organization, connection)
            return ((), [fact])
        }
        try await settings.refresh()
    }

    package func list(_ principal: Principal) throws -> [(price: ModelPrice, isCustom: Bool)] {
        try settings.current().prices.all(organization: principal.organization, at: Date())
    }
}
