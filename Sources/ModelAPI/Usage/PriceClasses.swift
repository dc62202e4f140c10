import Core

/// The price of each class of token, and of a web search. All are 0 or more and at most 10^12 (a dollar per token).
package struct PriceClasses: Sendable, Hashable, Codable {
    package var input: MicroDollarsPerMillion
    package var cacheRead: MicroDollarsPerMillion
    package var cacheWrite5m: MicroDollarsPerMillion
    package var cacheWrite1h: MicroDollarsPerMillion
    package var output: MicroDollarsPerMillion
    /// For the output that was reasoning; nil: as all output.
    package var reasoning: MicroDollarsPerMillion?
    /// For one search (providers publish it per thousand).
    package var webSearch: NanoDollars

    package init(
        input: MicroDollarsPerMillion, cacheRead: MicroDollarsPerMillion, cacheWrite5m: MicroDollarsPerMillion,
        cacheWrite1h: MicroDollarsPerMillion, output: MicroDollarsPerMillion,
        reasoning: MicroDollarsPerMillion? = nil, webSearch: NanoDollars = .zero
    ) {
        self.input = input
        self.cacheRead = cacheRead
        self.cacheWrite5m = cacheWrite5m
        self.cacheWrite1h = cacheWrite1h
        self.output = output
        self.reasoning = reasoning
        self.webSearch = webSearch
    }

    /// Summed in pico-dollars and rounded half up once.
    package func cost(of usage: Usage) -> NanoDollars {
        var sum = PicoDollars()
        sum.add(usage.input, at: input)
        sum.add(usage.cacheRead, at: cacheRead)
        sum.add(usage.cacheWrite5m, at: cacheWrite5m)
        sum.add(usage.cacheWrite1h, at: cacheWrite1h)
        sum.add(usage.output - usage.reasoning, at: output)
        sum.add(usage.reasoning, at: reasoning ?? output)
        sum.add(usage.webSearches, each: webSearch)
        return sum.rounded
    }

    /// The most that `inputTokens` of input in any class and `outputTokens` of output can cost, rounded up: what a hold takes.
    /// Never overflows: what is beyond the range of amounts becomes its end.
    package func ceiling(inputTokens: TokenCount, outputTokens: TokenCount, webSearches: Int = 0) -> NanoDollars {
        var sum = PicoDollars()
        sum.add(inputTokens, at: dearestInput)
        sum.add(outputTokens, at: dearestOutput)
        sum.add(webSearches, each: webSearch)
        return sum.ceiling
    }

    package var dearestInput: MicroDollarsPerMillion {
        [input, cacheRead, cacheWrite5m, cacheWrite1h].max { $0.value < $1.value } ?? input
    }

    package var dearestOutput: MicroDollarsPerMillion {
        guard let reasoning, reasoning.value > output.value else { return output }
        return reasoning
    }

    /// How many output tokens the money pays for once the input is paid at its dearest; nil when it does not even pay the input.
    /// `Int.max` when output is free.
    package func affordableOutput(inputTokens: TokenCount, within money: NanoDollars) -> TokenCount? {
        var sum = PicoDollars()
        sum.add(inputTokens, at: dearestInput)
        let left = Int128(money.value) * 1000 - sum.value
        guard left >= 0 else { return nil }
        guard dearestOutput.value > 0 else { return .max }
        return Int(clamping: left / Int128(dearestOutput.value))
    }
}
