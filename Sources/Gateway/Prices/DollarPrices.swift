import Core
import Foundation
import ModelAPI

/// Prices as people write them: dollars per million tokens, a web search by the piece. Only `input` and `output` are required; a
/// cache class without a price costs what input costs, never nothing; reasoning without one what output costs.
package struct DollarPrices: Codable, Sendable {
    package var input: String
    package var cacheRead: String?
    package var cacheWrite5m: String?
    package var cacheWrite1h: String?
    package var output: String
    package var reasoning: String?
    package var webSearch: String?

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case input, output, reasoning
        case cacheRead = "cache_read"
        case cacheWrite5m = "cache_write_5m"
        case cacheWrite1h = "cache_write_1h"
        case webSearch = "web_search"
    }

    package init(
        input: String, cacheRead: String? = nil, cacheWrite5m: String? = nil, cacheWrite1h: String? = nil, output: String,
        reasoning: String? = nil, webSearch: String? = nil
    ) {
        self.input = input
        self.cacheRead = cacheRead
        self.cacheWrite5m = cacheWrite5m
        self.cacheWrite1h = cacheWrite1h
        self.output = output
        self.reasoning = reasoning
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
            reasoning: try reasoning.map { try price($0, "reasoning") }, webSearch: search)
    }
}

extension DecodingError {
    /// Where and what, in a few words of JSON.
    var place: String {
        func must(be type: any Any.Type) -> String { "must be \(JSONWords.expected(type) ?? "of another kind")" }
        let (context, what): (Context, String) =
            switch self {
            case .typeMismatch(let type, let context), .valueNotFound(let type, let context): (context, must(be: type))
            case .keyNotFound(let key, let context): (context, "has no '\(key.stringValue)'")
            case .dataCorrupted(let context):
                (
                    context,
                    context.codingPath.isEmpty
                        ? "is no valid JSON" : context.debugDescription.trimmingCharacters(in: CharacterSet(charactersIn: "."))
                )
            @unknown default: (Context(codingPath: [], debugDescription: ""), "is unreadable")
            }
        let path = JSONWords.place(context.codingPath)
        return "\(path.isEmpty ? "it" : path) \(what)"
    }
}
