import Core
import Foundation
import ModelAPI

/// One file of `config/prices/`: the list prices of one kind of provider, in dollars per million tokens.
struct PriceFile: Decodable {
    var providerType: ProviderType
    var source: String
    var models: [Entry]

    enum CodingKeys: String, CodingKey {
        case source, models
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
        var longContext: LongContext?

        enum CodingKeys: String, CodingKey {
            case model, aliases, price
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

    /// - Throws: `badRequest` naming the file and the place in it.
    static func read(_ text: String, name: String) throws -> [ModelPrice] {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            let file = try decoder.decode(PriceFile.self, from: Data(text.utf8))
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
        let long = try longContext.map { ModelPrice.LongContext(above: $0.above, price: try $0.price.classes(of: model)) }
        let body = ModelPrice.Body(
            contextTokens: contextTokens, maxOutputTokens: maxOutputTokens, standard: try price.classes(of: model),
            longContext: long)
        return try ([model] + (aliases ?? [])).map {
            try ModelPrice(providerType: type, model: $0, validFrom: validFrom, validTo: validTo, organization: nil, body: body)
        }
    }
}

/// Prices as people write them: dollars per million tokens, a web search by the piece. Only `input` and `output` are required; a
/// cache class without a price costs what input costs, never nothing.
package struct DollarPrices: Codable, Sendable {
    package var input: String
    package var cacheRead: String?
    package var cacheWrite5m: String?
    package var cacheWrite1h: String?
    package var output: String
    package var webSearch: String?

    package enum CodingKeys: String, CodingKey {
        case input, output
        case cacheRead = "cache_read"
        case cacheWrite5m = "cache_write_5m"
        case cacheWrite1h = "cache_write_1h"
        case webSearch = "web_search"
    }

    package init(
        input: String, cacheRead: String? = nil, cacheWrite5m: String? = nil, cacheWrite1h: String? = nil, output: String,
        webSearch: String? = nil
    ) {
        self.input = input
        self.cacheRead = cacheRead
        self.cacheWrite5m = cacheWrite5m
        self.cacheWrite1h = cacheWrite1h
        self.output = output
        self.webSearch = webSearch
    }

    /// - Throws: `badRequest` for what is no price: `12.50`, at most six decimals, at most 1,000,000.
    package func classes(of model: String) throws -> PriceClasses {
        func price(_ text: String, _ field: String) throws -> MicroDollarsPerMillion {
            guard let dollars = NanoDollars(dollars: text), dollars.value % 1000 == 0, dollars.value <= 1_000_000_000_000_000 else {
                throw AppError(
                    .badRequest, "\(field) of \(model) is '\(text)'; expected dollars per million tokens such as 2.50.",
                    field: field)
            }
            return MicroDollarsPerMillion(dollars.value / 1000)
        }
        let plain = try price(input, "input")
        guard let search = NanoDollars(dollars: webSearch ?? "0"), search.value <= 1_000_000_000_000 else {
            throw AppError(
                .badRequest, "web_search of \(model) is '\(webSearch ?? "")'; expected dollars per search.", field: "web_search")
        }
        return PriceClasses(
            input: plain, cacheRead: try cacheRead.map { try price($0, "cache_read") } ?? plain,
            cacheWrite5m: try cacheWrite5m.map { try price($0, "cache_write_5m") } ?? plain,
            cacheWrite1h: try cacheWrite1h.map { try price($0, "cache_write_1h") } ?? plain, output: try price(output, "output"),
            webSearch: search)
    }
}

extension DecodingError {
    /// Where and what, in a few words.
    var place: String {
        let (context, what): (Context, String) =
            switch self {
            case .typeMismatch(let type, let context): (context, "expected \(type)")
            case .valueNotFound(let type, let context): (context, "expected \(type), found null")
            case .keyNotFound(let key, let context): (context, "\(key.stringValue) is missing")
            case .dataCorrupted(let context): (context, context.debugDescription)
            @unknown default: (Context(codingPath: [], debugDescription: ""), "unreadable")
            }
        let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
        return path.isEmpty ? what : "at \(path), \(what)"
    }
}
