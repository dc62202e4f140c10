import Core

/// What a call consumed, in classes that do not overlap: a token is counted in exactly one of the five token fields.
package struct Usage: Sendable, Hashable, Codable {
    /// Input that was neither read from nor written to a cache.
    package var input: TokenCount
    package var cacheRead: TokenCount
    /// Written to a cache that lives five minutes, or to one whose lifetime the provider does not name.
    package var cacheWrite5m: TokenCount
    package var cacheWrite1h: TokenCount
    /// All output, reasoning included.
    package var output: TokenCount
    /// The part of `output` that was reasoning, where the provider tells; it is priced once, as output or at a price of its own.
    package var reasoning: TokenCount
    package var webSearches: Int
    /// Cache writes were reported without their lifetime; they are priced at five minutes.
    package var ttlUnknown: Bool
    /// The class of service, once it is known; nil is priced as the standard one.
    package var serviceTier: ServiceTier?

    package init(
        input: TokenCount = 0, cacheRead: TokenCount = 0, cacheWrite5m: TokenCount = 0, cacheWrite1h: TokenCount = 0,
        output: TokenCount = 0, reasoning: TokenCount = 0, webSearches: Int = 0, ttlUnknown: Bool = false,
        serviceTier: ServiceTier? = nil
    ) {
        self.input = input
        self.cacheRead = cacheRead
        self.cacheWrite5m = cacheWrite5m
        self.cacheWrite1h = cacheWrite1h
        self.output = output
        self.reasoning = reasoning
        self.webSearches = webSearches
        self.ttlUnknown = ttlUnknown
        self.serviceTier = serviceTier
    }

    /// Everything the model read, cached or not.
    package var totalInput: TokenCount { input + cacheRead + cacheWrite5m + cacheWrite1h }
    package var total: TokenCount { totalInput + output }

    package static func + (a: Usage, b: Usage) -> Usage {
        Usage(
            input: a.input + b.input, cacheRead: a.cacheRead + b.cacheRead, cacheWrite5m: a.cacheWrite5m + b.cacheWrite5m,
            cacheWrite1h: a.cacheWrite1h + b.cacheWrite1h, output: a.output + b.output, reasoning: a.reasoning + b.reasoning,
            webSearches: a.webSearches + b.webSearches, ttlUnknown: a.ttlUnknown || b.ttlUnknown,
            serviceTier: a.serviceTier ?? b.serviceTier)
    }
}
