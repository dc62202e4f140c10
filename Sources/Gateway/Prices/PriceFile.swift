import Core
import Foundation
import ModelAPI

/// One file of `config/prices/`: the list prices of one kind of provider, in dollars per million tokens.
struct PriceFile: Decodable {
    var providerType: ProviderType
    var source: String
    /// When it was written down, e.g. `2026-11-21`.
    var asOf: String?
    var models: [Entry]

    enum CodingKeys: String, CodingKey {
        case source, models
        case asOf = "as_of"
        case providerType = "provider_type"
    }

    struct Entry: Decodable {
        var model: String
        var aliases: [String]?
        var validFrom: Date
        var validTo: Date?
        var contextTokens: TokenCount
        var maxOutputTokens: TokenCount
        var price: DollarPrices
        var longContext: OneOrMore<LongContext>?
        /// By the word of `ServiceTier`.
        var services: [String: Service]?

        enum CodingKeys: String, CodingKey {
            case model, aliases, price, services
            case validFrom = "valid_from"
            case validTo = "valid_to"
            case contextTokens = "context_tokens"
            case maxOutputTokens = "max_output_tokens"
            case longContext = "long_context"
        }
    }

    struct LongContext: Decodable {
        var above: TokenCount
        var price: DollarPrices
    }

    struct Service: Decodable {
        var price: DollarPrices
        var longContext: OneOrMore<LongContext>?

        enum CodingKeys: String, CodingKey {
            case price
            case longContext = "long_context"
        }
    }

    /// One value, or an array of them.
    struct OneOrMore<Value: Decodable>: Decodable {
        var values: [Value]

        init(from decoder: any Decoder) throws {
            do {
                values = [try Value(from: decoder)]
            } catch let single {
                // An array that is wrong inside says where.
                guard var elements = try? decoder.unkeyedContainer() else { throw single }
                values = []
                while !elements.isAtEnd { values.append(try elements.decode(Value.self)) }
            }
        }
    }

    /// - Throws: `badRequest` naming the file and the place in it.
    static func read(_ text: String, name: String) throws -> [ModelPrice] {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let value = try decoder.singleValueContainer()
            let text = try value.decode(String.self)
            guard let date = try? Date(text, strategy: .iso8601) else {
                throw DecodingError.dataCorruptedError(
                    in: value, debugDescription: "is '\(text.prefix(40))'; expected a time such as 2026-11-01T00:00:00Z")
            }
            return date
        }
        do {
            let data = Data(text.utf8)
            try PriceFileShape.file.check(try JSONDecoder().decode(PriceJSON.self, from: data))
            let file = try decoder.decode(PriceFile.self, from: data)
            return try file.models.flatMap { try $0.prices(of: file.providerType) }
        } catch let error as DecodingError {
            throw AppError(.badRequest, "The price file \(name) cannot be read: \(error.place).", field: "prices/\(name)")
        } catch let error as AppError {
            throw AppError(.badRequest, "The price file \(name): \(error.message)", field: "prices/\(name)")
        }
    }
}

extension PriceFile.Entry {
    fileprivate func prices(of type: ProviderType) throws -> [ModelPrice] {
        guard contextTokens > 0, maxOutputTokens > 0, maxOutputTokens <= contextTokens, contextTokens <= 100_000_000 else {
            throw AppError(.badRequest, "\(model) must have 0 < max_output_tokens <= context_tokens <= 100000000.")
        }
        if let validTo, validTo <= validFrom {
            throw AppError(.badRequest, "\(model) has a valid_to that is not after its valid_from.")
        }
        var tables: [ServiceTier: PriceTable] = [:]
        for (word, service) in services ?? [:] {
            guard let tier = ServiceTier(rawValue: word), tier != .standard else {
                throw AppError(.badRequest, "\(model) has prices for the service '\(word)'; there are priority, flex and batch.")
            }
            tables[tier] = try PriceFile.table(service.price, service.longContext, of: model)
        }
        let body = ModelPrice.Body(
            contextTokens: contextTokens, maxOutputTokens: maxOutputTokens,
            table: try PriceFile.table(price, longContext, of: model), services: tables)
        return try ([model] + (aliases ?? [])).map {
            try ModelPrice(providerType: type, model: $0, validFrom: validFrom, validTo: validTo, organization: nil, body: body)
        }
    }
}

extension PriceFile {
    fileprivate static func table(_ price: DollarPrices, _ long: OneOrMore<LongContext>?, of model: String) throws -> PriceTable {
        let table = PriceTable(
            standard: try price.classes(of: model),
            tiers: try (long?.values ?? []).map { .init(above: $0.above, price: try $0.price.classes(of: model)) })
        try table.check(model)
        return table
    }
}
