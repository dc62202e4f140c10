import Core
import Foundation
import ModelAPI
import Postgres

/// An organization's own prices: what it pays in place of the list price, or for a model that the book does not know.
package struct PriceService: Sendable {
    let store: PriceStore
    let settings: SettingsCache
    let facts: AuditFacts

    package struct Change: Sendable {
        package var type: ProviderType
        /// Nil: for every provider of the type.
        package var providerName: String?
        package var model: String
        package var table: PriceTable
        package var services: [ServiceTier: PriceTable]
        package var contextTokens: TokenCount
        package var maxOutputTokens: TokenCount
        /// Nil: from now on.
        package var validFrom: Date?
        /// Nil: until the next one begins.
        package var validTo: Date?
        /// What it overlaps with makes room.
        package var isReplacing: Bool

        package init(
            type: ProviderType, providerName: String? = nil, model: String, prices: PriceClasses,
            contextTokens: TokenCount = 200_000,
            maxOutputTokens: TokenCount = 32_000, validFrom: Date? = nil, validTo: Date? = nil, isReplacing: Bool = false
        ) {
            self.type = type
            self.providerName = providerName
            self.model = model
            table = PriceTable(standard: prices)
            services = [:]
            self.contextTokens = contextTokens
            self.maxOutputTokens = maxOutputTokens
            self.validFrom = validFrom
            self.validTo = validTo
            self.isReplacing = isReplacing
        }
    }

    /// Calls that are under way keep the price they began with, and what is booked stays as it is: re-rating corrects it.
    ///
    /// - Throws: `badRequest` for what is no price; `conflict` for intervals that overlap.
    package func set(_ principal: Principal, _ change: Change) async throws {
        try PriceRules.check(change)
        try await settings.refresh()
        let current = try settings.current()
        try Self.check(provider: change.providerName, has: change.type, current, principal)
        let book = current.prices
        let body = ModelPrice.Body(
            contextTokens: change.contextTokens, maxOutputTokens: change.maxOutputTokens, table: change.table,
            services: change.services, providerName: change.providerName)
        let price = try ModelPrice(
            providerType: change.type, model: change.model, validFrom: change.validFrom ?? Date(microseconds: Date().microseconds),
            validTo: change.validTo, organization: principal.organization, body: body)
        let placement = try place(price, principal, book, .custom, replacing: change.isReplacing)
        try await write([placement], principal) { placed in
            [
                try .init(
                    organization: principal.organization, actor: principal.user, kind: "price.set",
                    subject: "\(change.type.rawValue)/\(change.model)", Self.details(placed[0]))
            ]
        }
    }

    /// - Throws: `notFound` for a provider that is not there, `badRequest` for one that is never asked for prices of the type.
    static func check(
        provider name: String?, has type: ProviderType? = nil, _ settings: Settings, _ principal: Principal
    ) throws {
        guard let name else { return }
        guard let provider = settings.provider(named: name, organization: principal.organization) else {
            throw AppError(
                .notFound, "There is no provider named '\(name.prefix(64))'; slipway providers list shows all.", field: "provider")
        }
        if let type, !provider.type.priceTypes.contains(type) {
            throw AppError(
                .badRequest,
                "The provider '\(name)' is of type \(provider.type.rawValue), so a price of type \(type.rawValue) would never count for it.",
                field: "type")
        }
    }

    package func list(_ principal: Principal, named: String? = nil) throws -> [(price: ModelPrice, layer: PriceBook.Layer)] {
        try settings.current().prices.all(organization: principal.organization, named: named, at: Date())
    }

    func place(
        _ price: ModelPrice, _ principal: Principal, _ book: PriceBook, _ layer: PriceBook.Layer, replacing: Bool
    ) throws -> PricePlacement {
        let line = book.line(
            of: price.model, type: price.providerType, named: price.providerName, organization: principal.organization, layer: layer
        )
        return try PricePlacement(price, among: line, replacing: replacing) { old, from, to in
            try ModelPrice(
                providerType: old.providerType, model: old.model, validFrom: from, validTo: to,
                organization: principal.organization, body: old.body)
        }
    }

    func write(
        _ placements: [PricePlacement], _ principal: Principal,
        facts: @escaping @Sendable ([PricePlacement]) throws -> [AuditFacts.Fact]
    ) async throws {
        let (store, organization) = (store, principal.organization)
        try await self.facts.record { connection in
            for placement in placements { try await store.write(placement, organization: organization, connection) }
            return ((), try facts(placements))
        }
        try await settings.refresh()
    }

    static func details(_ placement: PricePlacement) -> [String: String] {
        guard let price = placement.added.first else { return [:] }
        var details = [
            "price_id": price.id, "input": "\(price.standard.input.value)", "output": "\(price.standard.output.value)",
            "valid_from": PriceIntervals.stamp(price.validFrom),
        ]
        if let end = price.validTo { details["valid_to"] = PriceIntervals.stamp(end) }
        if let name = price.providerName { details["provider"] = name }
        if !placement.withdrawn.isEmpty { details["withdrawn"] = placement.withdrawn.map(\.id).joined(separator: " ") }
        return details
    }
}

/// What a price may be.
enum PriceRules {
    static func check(_ change: PriceService.Change) throws {
        guard !change.model.isEmpty, change.model.utf8.count <= 256 else {
            throw AppError(.badRequest, "model must have 1 to 256 bytes.", field: "model")
        }
        guard change.maxOutputTokens > 0, change.contextTokens >= change.maxOutputTokens, change.contextTokens <= 100_000_000 else {
            throw AppError(
                .badRequest, "max_output_tokens must be above 0 and at most context_tokens, which is at most 100000000.",
                field: "max_output_tokens")
        }
        if let from = change.validFrom, let to = change.validTo, to <= from {
            throw AppError(.badRequest, "valid_to must be after valid_from.", field: "valid_to")
        }
        if change.validFrom == nil, let to = change.validTo, to <= Date() {
            throw AppError(.badRequest, "valid_to has passed; give valid_from too.", field: "valid_to")
        }
        for table in [change.table] + change.services.values {
            try table.check(change.model)
            for classes in [table.standard] + (table.tiers ?? []).map(\.price) { try check(classes) }
        }
    }

    private static func check(_ classes: PriceClasses) throws {
        let all = [
            classes.input, classes.cacheRead, classes.cacheWrite5m, classes.cacheWrite1h, classes.output,
            classes.reasoning ?? classes.output,
        ]
        guard all.allSatisfy({ (0...1_000_000_000_000).contains($0.value) }) else {
            throw AppError(
                .badRequest, "A price is in millionths of a dollar per million tokens, from 0 to 1000000000000.",
                field: "input_per_million")
        }
        guard (0...1_000_000_000_000).contains(classes.webSearch.value) else {
            throw AppError(.badRequest, "A web search costs 0 to 1000 dollars.", field: "web_search_nano_dollars")
        }
    }
}
