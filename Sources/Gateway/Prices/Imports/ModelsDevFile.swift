import Core
import Foundation
import ModelAPI

/// The `api.json` of models.dev: providers by id, each with `models` by id, each with `cost` in dollars per million tokens
/// (`input`, `output`, `reasoning`, `cache_read`, `cache_write`; `context_over_200k` or `tiers` for long inputs) and `limit`. It knows
/// no price of an hour's cache and none of batches.
enum ModelsDevFile {
    static func read(_ json: PriceJSON) throws -> [ImportedPrice] {
        guard let providers = json.object, providers.values.contains(where: { $0["models"]?.object != nil }) else {
            throw AppError(
                .badRequest,
                "This is no models.dev file: expected an object of providers by id, each with \"models\"; models.dev offers it as api.json.",
                field: "file")
        }
        return providers.sorted { $0.key < $1.key }.flatMap { section, provider in
            (provider["models"]?.object ?? [:]).sorted { $0.key < $1.key }.compactMap { id, model in price(section, id, model) }
        }
    }

    private static func price(_ section: String, _ id: String, _ model: PriceJSON) -> ImportedPrice? {
        guard let cost = model["cost"] else { return nil }
        var price = ImportedPrice(section: section, model: model["id"]?.text ?? id)
        price.contextTokens = model["limit"]?["context"]?.count
        price.maxOutputTokens = model["limit"]?["output"]?.count
        price.isEmbedding = model["modalities"]?["output"]?.array?.contains(.text("embeddings")) ?? false
        price.tables[.standard] = table(cost)
        for mode in (model["experimental"]?["modes"]?.object ?? [:]).values {
            guard let word = mode["provider"]?["body"]?["service_tier"]?.text, let tier = ServiceTier(word: word),
                tier != .standard,
                let cost = mode["cost"]
            else { continue }
            price.tables[tier] = table(cost)
        }
        return price
    }

    private static func table(_ cost: PriceJSON) -> ImportedPrice.Table {
        var table = ImportedPrice.Table(standard: rates(cost))
        if let long = cost["context_over_200k"], !rates(long).isEmpty { table.tiers[200_000] = rates(long) }
        for tier in cost["tiers"]?.array ?? [] {
            guard let size = tier["tier"]?["size"]?.count ?? tier["size"]?.count, size > 0, !rates(tier).isEmpty else { continue }
            table.tiers[size] = rates(tier)
        }
        return table
    }

    private static func rates(_ cost: PriceJSON) -> ImportedPrice.Rates {
        func price(_ key: String) -> Int64? { cost[key]?.number.flatMap { ImportedPrice.pico($0, perTokens: 1_000_000) } }
        return .init(
            input: price("input"), output: price("output"), cacheRead: price("cache_read"), cacheWrite5m: price("cache_write"),
            cacheWrite1h: nil, reasoning: price("reasoning"))
    }
}
