import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct UsageAndPriceTests {
    /// Claude Sonnet 4.5: 3 / 0.30 / 3.75 / 6 / 15 dollars per million.
    static let sonnet = PriceClasses(
        input: .init(3_000_000), cacheRead: .init(300_000), cacheWrite5m: .init(3_750_000), cacheWrite1h: .init(6_000_000),
        output: .init(15_000_000), webSearch: NanoDollars(10_000_000))

    @Test func `each class has its own price and the sum is rounded once`() {
        let usage = Usage(
            input: 2095, cacheRead: 18000, cacheWrite5m: 1051, cacheWrite1h: 1000, output: 503, reasoning: 400, webSearches: 2)
        // 6,285 + 5,400 + 3,941.25 + 6,000 + 7,545 micro-dollars, and two searches at a cent.
        #expect(Self.sonnet.cost(of: usage) == NanoDollars(29_171_250 + 20_000_000))
        #expect(Self.sonnet.cost(of: Usage()) == .zero)
    }

    @Test func `half a nano-dollar is rounded up, and only after everything is summed`() {
        func price(_ micro: Int64) -> PriceClasses {
            PriceClasses(
                input: .init(micro), cacheRead: .init(micro), cacheWrite5m: .init(0), cacheWrite1h: .init(0), output: .init(micro))
        }
        #expect(price(499).cost(of: Usage(input: 1)) == NanoDollars(0))
        #expect(price(500).cost(of: Usage(input: 1)) == NanoDollars(1))
        #expect(price(500).cost(of: Usage(input: 1, cacheRead: 1, output: 1)) == NanoDollars(2))
        #expect(price(499).cost(of: Usage(input: 1, cacheRead: 1)) == NanoDollars(1))
    }

    @Test func `no usage within the bounds costs more than the hold`() {
        for seed in 0..<2000 {
            var random = SeededGenerator(seed: UInt64(seed))
            func price() -> MicroDollarsPerMillion { .init(Int64.random(in: 0...100_000_000, using: &random)) }
            let prices = PriceClasses(
                input: price(), cacheRead: price(), cacheWrite5m: price(), cacheWrite1h: price(), output: price())
            func count() -> Int { Int.random(in: 0...100_000, using: &random) }
            let usage = Usage(input: count(), cacheRead: count(), cacheWrite5m: count(), cacheWrite1h: count(), output: count())
            let hold = prices.ceiling(inputTokens: usage.totalInput, outputTokens: usage.output)
            #expect(prices.cost(of: usage) <= hold)
            // What is affordable fits, and one more token does not.
            let money = NanoDollars(Int64.random(in: 0...20_000_000_000, using: &random))
            if let output = prices.affordableOutput(inputTokens: usage.totalInput, within: money) {
                guard output < .max else { continue }
                #expect(prices.ceiling(inputTokens: usage.totalInput, outputTokens: output) <= money)
                #expect(
                    prices.ceiling(inputTokens: usage.totalInput, outputTokens: output + 1) > money || prices.output.value < 1000)
            } else {
                #expect(prices.ceiling(inputTokens: usage.totalInput, outputTokens: 0) > money)
            }
        }
    }

    @Test func `the largest counts at the largest price do not overflow`() {
        let dear = MicroDollarsPerMillion(1_000_000_000_000)
        let prices = PriceClasses(input: dear, cacheRead: dear, cacheWrite5m: dear, cacheWrite1h: dear, output: dear)
        let most = UsageTally.most
        #expect(
            prices.cost(of: Usage(input: most, cacheRead: most, cacheWrite5m: most, cacheWrite1h: most, output: most)).value
                == 5_000_000_000_000_000_000)
        var searching = prices
        searching.webSearch = NanoDollars(1_000_000_000_000)
        #expect(searching.cost(of: Usage(webSearches: most)).value == .max)
        #expect(searching.ceiling(inputTokens: .max, outputTokens: .max, webSearches: .max).value == .max)
    }

    @Test func `usage adds up class by class`() {
        let sum =
            Usage(input: 1, cacheRead: 2, output: 3, ttlUnknown: true) + Usage(input: 10, cacheWrite1h: 5, output: 4, reasoning: 2)
        #expect(sum == Usage(input: 11, cacheRead: 2, cacheWrite1h: 5, output: 7, reasoning: 2, ttlUnknown: true))
        #expect(sum.totalInput == 18 && sum.total == 25)
    }
}
