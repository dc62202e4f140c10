import Core

/// What a provider reported so far, in its own counting. Reports are cumulative in every protocol: a later value replaces an
/// earlier one, field by field, and is never added.
struct UsageTally: Sendable, Equatable {
    var convention: ModelProtocol
    /// Messages: without cached tokens. All others: with them.
    var input: TokenCount?
    /// Gemini: what the results of the provider's own tools added to the prompt.
    var toolInput: TokenCount?
    var cacheRead: TokenCount?
    var cacheWrite: TokenCount?
    var cacheWrite5m: TokenCount?
    var cacheWrite1h: TokenCount?
    /// Gemini: without reasoning. All others: with it.
    var output: TokenCount?
    var reasoning: TokenCount?
    var webSearches: Int?
    var serviceTier: ServiceTier?

    init(convention: ModelProtocol) { self.convention = convention }

    /// A count beyond this is nonsense; it is cut here, so that no sum of costs can overflow.
    static let most = 1_000_000_000

    /// Nil until the provider reported input or output.
    var usage: Usage? {
        guard input != nil || output != nil else { return nil }
        let cached = (cacheRead ?? 0) + (cacheWrite ?? 0)
        switch convention {
        case .messages: return disjoint(input: input ?? 0, output: output ?? 0)
        case .chatCompletions, .responses: return disjoint(input: max(0, (input ?? 0) - cached), output: output ?? 0)
        case .gemini:
            let input = max(0, (input ?? 0) - cached) + (toolInput ?? 0)
            return disjoint(input: input, output: (output ?? 0) + (reasoning ?? 0))
        }
    }

    private func disjoint(input: TokenCount, output: TokenCount) -> Usage {
        var usage = Usage(
            input: input, cacheRead: cacheRead ?? 0, output: output, webSearches: webSearches ?? 0,
            serviceTier: serviceTier)
        usage.reasoning = min(reasoning ?? 0, usage.output)
        let split5m = cacheWrite5m ?? 0
        let split1h = cacheWrite1h ?? 0
        let written = cacheWrite ?? split5m + split1h
        // The split comes once, at the start; the total may be corrected later. What the split does not explain is priced at 5m.
        usage.cacheWrite1h = min(split1h, written)
        usage.cacheWrite5m = written - usage.cacheWrite1h
        usage.ttlUnknown = written != split5m + split1h
        return usage
    }
}
