import Core
import Foundation
import ModelAPI

/// What a file says of one model, in pico-dollars per token (millionths of a dollar per million), before anything is filled in.
struct ImportedPrice: Sendable, Equatable {
    /// Classes of one table. What is nil the file does not say.
    struct Rates: Sendable, Equatable {
        var input: Int64?
        var output: Int64?
        var cacheRead: Int64?
        var cacheWrite5m: Int64?
        var cacheWrite1h: Int64?
        var reasoning: Int64?

        var isEmpty: Bool { self == Rates() }
    }

    struct Table: Sendable, Equatable {
        var standard = Rates()
        /// By border.
        var tiers: [TokenCount: Rates] = [:]
    }

    /// As the file names the provider, e.g. `openai`.
    var section: String
    var model: String
    var contextTokens: TokenCount?
    var maxOutputTokens: TokenCount?
    var tables: [ServiceTier: Table] = [:]
    /// Nano-dollars for one.
    var webSearch: Int64?
    /// Nothing is generated, so a free output is no mistake.
    var isEmbedding = false

    /// Rounded half up to the unit of the book; nil for what is beyond any price. Negative ones are kept, to be refused by name.
    static func pico(_ value: Decimal, perTokens tokens: Decimal) -> Int64? {
        let scaled = value * 1_000_000_000_000 / tokens
        guard abs(scaled) <= 1_000_000_000_000_000 else { return nil }
        var (whole, exact) = (Decimal(), scaled)
        NSDecimalRound(&whole, &exact, 0, .plain)
        return NSDecimalNumber(decimal: whole).int64Value
    }
}

extension ImportedPrice {
    /// The price that comes of it.
    ///
    /// What a file cannot say stays as the book has it (`known`): caches and searches while input and output are the same, other
    /// classes of service always. Else a cache class costs what input costs and reasoning what output costs, never nothing; an hour's
    /// cache, where a five minutes' one is given, costs at least that and, with Anthropic, twice the input.
    func body(over known: ModelPrice.Body?, providerName: String?, format: String, isAnthropic: Bool) -> ModelPrice.Body? {
        let standard = tables[.standard] ?? Table()
        guard let input = standard.standard.input, let output = standard.standard.output ?? (isEmbedding ? 0 : nil) else {
            return nil
        }
        let isSame = known.map { $0.standard.input.value == input && $0.standard.output.value == output } ?? false
        let kept = isSame ? known?.standard : nil
        func classes(_ rates: Rates, _ base: Rates, kept: PriceClasses?) -> PriceClasses {
            let input = rates.input ?? base.input ?? input
            let output = rates.output ?? base.output ?? output
            let write5m = rates.cacheWrite5m ?? base.cacheWrite5m
            let ratio = isAnthropic && write5m != nil ? input * 2 : 0
            let write1h = rates.cacheWrite1h ?? base.cacheWrite1h ?? kept?.cacheWrite1h.value ?? max(write5m ?? input, ratio)
            return PriceClasses(
                input: .init(input), cacheRead: .init(rates.cacheRead ?? base.cacheRead ?? kept?.cacheRead.value ?? input),
                cacheWrite5m: .init(write5m ?? kept?.cacheWrite5m.value ?? input), cacheWrite1h: .init(write1h),
                output: .init(output), reasoning: (rates.reasoning ?? base.reasoning ?? kept?.reasoning?.value).map { .init($0) },
                webSearch: NanoDollars(webSearch ?? known?.standard.webSearch.value ?? 0))
        }
        func table(_ table: Table, over base: Rates, kept: PriceClasses?) -> PriceTable {
            var tiers = table.tiers.sorted { $0.key < $1.key }.map {
                ModelPrice.LongContext(above: $0.key, price: classes($0.value, table.standard, kept: nil))
            }
            if tiers.isEmpty, kept != nil { tiers = known?.table(.standard).tiers ?? [] }
            return PriceTable(standard: classes(table.standard, base, kept: kept), tiers: tiers)
        }
        var services: [ServiceTier: PriceTable] = [:]
        for tier in ServiceTier.allCases where tier != .standard {
            if let given = tables[tier], given.standard.input != nil || given.standard.output != nil {
                services[tier] = table(given, over: standard.standard, kept: nil)
            } else if let known, known.hasTable(tier) {
                services[tier] = known.table(tier)
            }
        }
        let context = max(1, contextTokens ?? known?.contextTokens ?? 128_000)
        let most = min(context, max(1, maxOutputTokens ?? known?.maxOutputTokens ?? 32_000))
        return ModelPrice.Body(
            contextTokens: context, maxOutputTokens: most, table: table(standard, over: Rates(), kept: kept), services: services,
            providerName: providerName, importedFrom: format)
    }
}
