import Core
import Foundation
import ModelAPI

/// LiteLLM's `model_prices_and_context_window.json`: models by name, with dollars per token. A key is a class of token, then
/// `_above_1hr`, `_above_<n>k_tokens` and `_priority`, `_flex` or `_batches` where they apply.
enum LiteLLMFile {
    /// Only these generate or read tokens that Slipway prices.
    private static let modes: Set<String> = ["chat", "completion", "responses", "embedding"]

    static func read(_ json: PriceJSON) throws -> [ImportedPrice] {
        guard let models = json.object, models.values.contains(where: { $0["litellm_provider"] != nil }) else {
            throw AppError(
                .badRequest,
                "This is no price file of LiteLLM: expected an object of models by name, each with \"litellm_provider\"; the file is named model_prices_and_context_window.json.",
                field: "file")
        }
        return models.sorted { $0.key < $1.key }.compactMap { name, model in
            guard name != "sample_spec", let section = model["litellm_provider"]?.text else { return nil }
            let mode = model["mode"]?.text ?? "chat"
            guard modes.contains(mode) else { return nil }
            return price(section, name, model, isEmbedding: mode == "embedding")
        }
    }

    private static func price(_ section: String, _ name: String, _ model: PriceJSON, isEmbedding: Bool) -> ImportedPrice? {
        // Names of other providers than OpenAI and Anthropic carry the provider in front.
        let plain = name.hasPrefix(section + "/") ? String(name.dropFirst(section.count + 1)) : name
        var price = ImportedPrice(section: section, model: plain)
        price.isEmbedding = isEmbedding
        price.contextTokens = model["max_input_tokens"]?.count ?? model["max_tokens"]?.count
        price.maxOutputTokens = model["max_output_tokens"]?.count ?? model["max_tokens"]?.count
        price.webSearch = (model["search_context_cost_per_query"]?.object ?? [:]).values
            .compactMap { $0.number.flatMap { ImportedPrice.pico($0, perTokens: 1000) } }.max()
        for (key, value) in model.object ?? [:] {
            guard let part = Part(key), let number = value.number, let pico = ImportedPrice.pico(number, perTokens: 1) else {
                continue
            }
            var table = price.tables[part.service] ?? .init()
            var rates = part.above == 0 ? table.standard : table.tiers[part.above] ?? .init()
            rates[keyPath: part.field] = pico
            if part.above == 0 { table.standard = rates } else { table.tiers[part.above] = rates }
            price.tables[part.service] = table
        }
        return price.tables.isEmpty ? nil : price
    }

    /// What a key prices; nil for images, audio, characters and all that is no price of a token.
    struct Part {
        var field: WritableKeyPath<ImportedPrice.Rates, Int64?>
        var above = 0
        var service = ServiceTier.standard

        init?(_ key: String) {
            let pattern =
                /(input_cost_per_token|output_cost_per_token|output_cost_per_reasoning_token|cache_read_input_token_cost|cache_creation_input_token_cost)(_above_1hr)?(?:_above_([0-9]+)k_tokens)?(?:_(priority|flex|batches))?/
            guard let match = key.wholeMatch(of: pattern) else { return nil }
            switch match.1 {
            case "input_cost_per_token": field = \.input
            case "output_cost_per_token": field = \.output
            case "output_cost_per_reasoning_token": field = \.reasoning
            case "cache_read_input_token_cost": field = \.cacheRead
            default: field = match.2 == nil ? \.cacheWrite5m : \.cacheWrite1h
            }
            if match.2 != nil, match.1 != "cache_creation_input_token_cost" { return nil }
            if let thousands = match.3.flatMap({ Int($0) }) { above = thousands * 1000 }
            switch match.4 {
            case "priority": service = .priority
            case "flex": service = .flex
            case "batches": service = .batch
            default: break
            }
        }
    }
}
