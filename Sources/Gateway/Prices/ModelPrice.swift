import AuditProof
import Core
import Crypto
import Foundation
import ModelAPI

/// What one model costs within a validity interval, and the limits that bound a call of it. It never changes: its id is the hash of
/// what it says.
package struct ModelPrice: Sendable, Hashable {
    package var id: String
    package var providerType: ProviderType
    package var model: String
    package var validFrom: Date
    /// Nil: until the next one begins.
    package var validTo: Date?
    package var body: Body

    package struct LongContext: Sendable, Hashable, Codable {
        package var above: TokenCount
        package var price: PriceClasses
    }

    package var contextTokens: TokenCount { body.contextTokens }
    package var maxOutputTokens: TokenCount { body.maxOutputTokens }
    package var standard: PriceClasses { body.standard }
    /// Nil: for every provider of the type.
    package var providerName: String? { body.providerName }

    /// Summed in pico-dollars and rounded half up once, to nano-dollars. The class of service prices it as far as it has a price of
    /// its own, and the tier that all of its input reaches prices every token.
    package func cost(of usage: Usage) -> NanoDollars {
        body.table(usage.serviceTier ?? .standard).classes(forInput: usage.totalInput).cost(of: usage)
    }

    /// The most that a call can cost, rounded up.
    ///
    /// - Parameters:
    ///   - inputTokens: an upper bound.
    ///   - requested: the class of service that the request names; nil: any may come.
    package func ceiling(
        inputTokens: TokenCount, outputTokens: TokenCount, webSearches: Int, requested: ServiceTier?
    ) -> NanoDollars {
        candidates(inputTokens, requested)
            .map { $0.ceiling(inputTokens: inputTokens, outputTokens: outputTokens, webSearches: webSearches) }.max() ?? .zero
    }

    /// How many output tokens the money pays for in any case; see `PriceClasses.affordableOutput`.
    package func affordableOutput(inputTokens: TokenCount, within money: NanoDollars, requested: ServiceTier?) -> TokenCount? {
        var least = TokenCount.max
        for classes in candidates(inputTokens, requested) {
            guard let affordable = classes.affordableOutput(inputTokens: inputTokens, within: money) else { return nil }
            least = min(least, affordable)
        }
        return least
    }

    /// Every set of prices that may apply. Providers fall back from a class of service to the standard one, never to a dearer one.
    private func candidates(_ inputTokens: TokenCount, _ requested: ServiceTier?) -> [PriceClasses] {
        guard let services = body.services, !services.isEmpty else { return body.table(.standard).reachable(upTo: inputTokens) }
        let tiers: [ServiceTier] = requested.map { [ServiceTier.standard, $0] } ?? ServiceTier.allCases.filter { $0 != .batch }
        var seen: Set<ServiceTier> = []
        return tiers.filter { seen.insert($0).inserted && body.hasTable($0) }
            .flatMap { body.table($0).reachable(upTo: inputTokens) }
    }

    /// Whether it has begun and has not reached its own end; it also ends where the next one begins.
    package func isValid(at date: Date) -> Bool { validFrom <= date && (validTo.map { date < $0 } ?? true) }

    /// `gpt-5 (openai)`, `gpt-5 (openai, internal)`.
    package var name: String { "\(model) (\(providerType.rawValue)\(providerName.map { ", \($0)" } ?? ""))" }
}

extension ModelPrice {
    /// The stored form; also what the id is the hash of. What is nil is not in it, so older rows keep their ids.
    package struct Body: Codable, Sendable, Hashable {
        package var contextTokens: TokenCount
        package var maxOutputTokens: TokenCount
        package var standard: PriceClasses
        /// The first of the tiers.
        package var longContext: LongContext?
        package var furtherTiers: [LongContext]?
        /// By `ServiceTier`, without `standard`.
        package var services: [String: PriceTable]?
        package var providerName: String?
        /// The format of the file it came from; nil: it was set by hand, or is of the book.
        package var importedFrom: String?

        package init(
            contextTokens: TokenCount, maxOutputTokens: TokenCount, standard: PriceClasses, longContext: LongContext? = nil,
            furtherTiers: [LongContext] = [], services: [ServiceTier: PriceTable] = [:], providerName: String? = nil,
            importedFrom: String? = nil
        ) {
            self.contextTokens = contextTokens
            self.maxOutputTokens = maxOutputTokens
            self.standard = standard
            self.longContext = longContext
            self.furtherTiers = furtherTiers.isEmpty ? nil : furtherTiers
            let named = services.filter { $0.key != .standard }
            self.services = named.isEmpty ? nil : Dictionary(uniqueKeysWithValues: named.map { ($0.key.rawValue, $0.value) })
            self.providerName = providerName
            self.importedFrom = importedFrom
        }

        package init(
            contextTokens: TokenCount, maxOutputTokens: TokenCount, table: PriceTable, services: [ServiceTier: PriceTable] = [:],
            providerName: String? = nil, importedFrom: String? = nil
        ) {
            let tiers = table.tiers ?? []
            self.init(
                contextTokens: contextTokens, maxOutputTokens: maxOutputTokens, standard: table.standard,
                longContext: tiers.first, furtherTiers: Array(tiers.dropFirst()), services: services, providerName: providerName,
                importedFrom: importedFrom)
        }

        /// The standard one for a class of service without prices of its own.
        package func table(_ tier: ServiceTier) -> PriceTable {
            if tier != .standard, let table = services?[tier.rawValue] { return table }
            return PriceTable(standard: standard, tiers: (longContext.map { [$0] } ?? []) + (furtherTiers ?? []))
        }

        package func hasTable(_ tier: ServiceTier) -> Bool { tier == .standard || services?[tier.rawValue] != nil }
    }

    /// Times are cut to whole microseconds, as the database has them: a fraction of one could be rounded otherwise on its way there.
    init(
        providerType: ProviderType, model: String, validFrom: Date, validTo: Date?, organization: OrganizationID?, body: Body
    ) throws {
        self.providerType = providerType
        self.model = model
        let (validFrom, validTo) = (Date(microseconds: validFrom.microseconds), validTo.map { Date(microseconds: $0.microseconds) })
        self.validFrom = validFrom
        self.validTo = validTo
        self.body = body
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        var canonical = Canonical("price")
        canonical.add(organization?.description ?? "")
        canonical.add(providerType.rawValue)
        canonical.add(model)
        // By whole microseconds: what comes back from the database may be a hair less than what went in.
        canonical.add(validFrom.microseconds / 1_000_000)
        canonical.add((validTo?.microseconds ?? 0) / 1_000_000)
        canonical.add(try encoder.encode(body))
        // Whole seconds have the ids that they always had.
        let fractions = [validFrom, validTo].compactMap { $0?.microseconds }.map { $0 % 1_000_000 }
        if fractions.contains(where: { $0 != 0 }) { canonical.add(fractions) }
        id = Data(canonical.digest.prefix(12)).hex
    }
}

extension Date {
    /// Since 1970, rounded.
    var microseconds: Int64 { Int64((timeIntervalSince1970 * 1_000_000).rounded()) }

    init(microseconds: Int64) { self.init(timeIntervalSince1970: Double(microseconds) / 1_000_000) }
}
