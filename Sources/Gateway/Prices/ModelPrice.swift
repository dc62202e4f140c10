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
    package var validTo: Date?
    package var contextTokens: TokenCount
    package var maxOutputTokens: TokenCount
    package var standard: PriceClasses
    /// Above so many input tokens, cached ones included, every class of the whole call has these prices.
    package var longContext: LongContext?

    package struct LongContext: Sendable, Hashable, Codable {
        package var above: TokenCount
        package var price: PriceClasses
    }

    /// Summed in pico-dollars and rounded half up once.
    package func cost(of usage: Usage) -> NanoDollars { classes(forInput: usage.totalInput).cost(of: usage) }

    package func classes(forInput tokens: TokenCount) -> PriceClasses {
        if let longContext, tokens > longContext.above { longContext.price } else { standard }
    }

    package func isValid(at date: Date) -> Bool { validFrom <= date && (validTo.map { date < $0 } ?? true) }
}

extension ModelPrice {
    /// The stored form; also what the id is the hash of.
    struct Body: Codable, Sendable {
        var contextTokens: TokenCount
        var maxOutputTokens: TokenCount
        var standard: PriceClasses
        var longContext: LongContext?
    }

    var body: Body {
        Body(contextTokens: contextTokens, maxOutputTokens: maxOutputTokens, standard: standard, longContext: longContext)
    }

    init(
        providerType: ProviderType, model: String, validFrom: Date, validTo: Date?, organization: OrganizationID?, body: Body
    ) throws {
        self.providerType = providerType
        self.model = model
        self.validFrom = validFrom
        self.validTo = validTo
        contextTokens = body.contextTokens
        maxOutputTokens = body.maxOutputTokens
        standard = body.standard
        longContext = body.longContext
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        var canonical = Canonical("price")
        canonical.add(organization?.description ?? "")
        canonical.add(providerType.rawValue)
        canonical.add(model)
        canonical.add(Int64(validFrom.timeIntervalSince1970))
        canonical.add(validTo.map { Int64($0.timeIntervalSince1970) } ?? 0)
        canonical.add(try encoder.encode(body))
        id = Data(canonical.digest.prefix(12)).hex
    }
}
