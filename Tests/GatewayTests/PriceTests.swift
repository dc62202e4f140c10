import Core
import Foundation
import ModelAPI
import NIOCore
import Testing

@testable import Gateway

@Suite struct PriceTests {
    static func classes(_ input: Int64, _ output: Int64, reasoning: Int64? = nil) -> PriceClasses {
        PriceClasses(
            input: .init(input), cacheRead: .init(input / 10), cacheWrite5m: .init(input * 5 / 4), cacheWrite1h: .init(input * 2),
            output: .init(output), reasoning: reasoning.map { .init($0) }, webSearch: NanoDollars(10_000_000))
    }

    static func price(
        _ from: Double = 0, _ to: Double? = nil, _ table: PriceTable = PriceTable(standard: classes(1_000_000, 5_000_000)),
        services: [ServiceTier: PriceTable] = [:], provider: String? = nil, imported: String? = nil, model: String = "m",
        organization: OrganizationID? = nil
    ) throws -> ModelPrice {
        try ModelPrice(
            providerType: .openai, model: model, validFrom: Date(timeIntervalSince1970: from),
            validTo: to.map { Date(timeIntervalSince1970: $0) }, organization: organization,
            body: .init(
                contextTokens: 1_000_000, maxOutputTokens: 1000, table: table, services: services, providerName: provider,
                importedFrom: imported))
    }

    private static let tiered = PriceTable(
        standard: classes(1_000_000, 5_000_000),
        tiers: [
            .init(above: 200_000, price: classes(2_000_000, 7_500_000)),
            .init(above: 500_000, price: classes(4_000_000, 9_000_000)),
        ])

    // MARK: Arithmetic

    @Test(arguments: [(199_999, 1), (200_000, 1), (200_001, 2), (500_000, 2), (500_001, 4)])
    func `the tier that all of the input reaches prices every token of the call`(input: Int, factor: Int64) throws {
        let price = try Self.price(0, nil, Self.tiered)
        // All but 1,000 tokens come from the cache, which counts for the border all the same.
        let usage = Usage(input: 1000, cacheRead: input - 1000, output: 100)
        let output: Int64 = [1: 5_000_000, 2: 7_500_000, 4: 9_000_000][factor]!
        let pico = 1000 * 1_000_000 * factor + Int64(input - 1000) * 100_000 * factor + 100 * output
        #expect(price.cost(of: usage) == NanoDollars((pico + 500) / 1000))
    }

    @Test func `reasoning is priced once: as output, or at its own price`() throws {
        let usage = Usage(output: 1000, reasoning: 400)
        #expect(try Self.price().cost(of: usage) == NanoDollars(1000 * 5000))
        let apart = try Self.price(0, nil, PriceTable(standard: Self.classes(1_000_000, 5_000_000, reasoning: 8_000_000)))
        #expect(apart.cost(of: usage) == NanoDollars(600 * 5000 + 400 * 8000))
    }

    @Test func `a class of service has its own prices, and one without costs the standard ones`() throws {
        let priority = PriceTable(standard: Self.classes(2_000_000, 10_000_000))
        let price = try Self.price(0, nil, Self.tiered, services: [.priority: priority])
        func cost(_ tier: ServiceTier?, _ input: Int = 1000) -> Int64 {
            price.cost(of: Usage(input: input, output: 0, serviceTier: tier)).value
        }
        #expect(cost(nil) == 1_000_000 && cost(.standard) == 1_000_000 && cost(.priority) == 2_000_000 && cost(.flex) == 1_000_000)
        // The tiers of one service are not those of another.
        #expect(cost(.standard, 300_000) == 600_000_000 && cost(.priority, 300_000) == 600_000_000)
        #expect(cost(.standard, 600_000) == 2_400_000_000 && cost(.priority, 600_000) == 1_200_000_000)
    }

    @Test func `the provider's word on the service counts, then the request's`() {
        #expect(ServiceTier.applied(requested: .priority, reported: .standard) == .standard)
        #expect(ServiceTier.applied(requested: .flex, reported: nil) == .flex)
        #expect(ServiceTier.applied(requested: nil, reported: nil) == .standard)
        #expect(ServiceTier(word: "auto") == nil && ServiceTier(word: "default") == .standard && ServiceTier(word: "x") == nil)
    }

    @Test func `service tiers are read from requests and answers of each protocol`() throws {
        for (api, body) in [
            (ModelProtocol.messages, #"{"model":"m","max_tokens":1,"service_tier":"standard_only","messages":[]}"#),
            (.chatCompletions, #"{"model":"m","service_tier":"default","messages":[]}"#),
            (.responses, #"{"model":"m","service_tier":"default","input":"hi"}"#),
        ] {
            #expect(try RequestSummary.read(ByteBuffer(string: body), as: api).serviceTier == .standard)
            let twice = body.replacing("\"model\"", with: "\"service_tier\":\"priority\",\"model\"")
            #expect(throws: AppError.self) { _ = try RequestSummary.read(ByteBuffer(string: twice), as: api) }
        }
        for (api, body) in [
            (
                ModelProtocol.messages,
                #"{"id":"x","type":"message","role":"assistant","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1,"service_tier":"priority"}}"#
            ),
            (
                .chatCompletions,
                #"{"id":"x","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"service_tier":"priority","usage":{"prompt_tokens":1,"completion_tokens":1}}"#
            ),
            (
                .responses,
                #"{"id":"x","status":"completed","output":[],"service_tier":"priority","usage":{"input_tokens":1,"output_tokens":1}}"#
            ),
        ] {
            var reader = AnswerReader(api, streamed: false)
            try reader.feed(ByteBuffer(string: body))
            reader.finish()
            #expect(reader.usage?.serviceTier == .priority, "\(api)")
        }
    }

    // MARK: Holds

    @Test func `a hold covers the dearest price that could apply`() throws {
        let odd = PriceTable(
            standard: Self.classes(3_000_000, 5_000_000), tiers: [.init(above: 1000, price: Self.classes(1_000_000, 20_000_000))])
        let priority = PriceTable(standard: Self.classes(6_000_000, 1_000_000, reasoning: 30_000_000))
        let price = try Self.price(0, nil, odd, services: [.priority: priority])
        for seed in 0..<3000 {
            var random = SeededNumbers(seed: UInt64(seed))
            let bound = Int.random(in: 1...3000, using: &random)
            let requested = [nil, ServiceTier.standard, .priority, .flex].randomElement(using: &random)!
            // What comes: any service that this request may get, any split of at most that much input.
            let served =
                requested == nil
                ? ServiceTier.allCases.randomElement(using: &random)! : [requested!, .standard].randomElement(using: &random)!
            var left = Int.random(in: 0...bound, using: &random)
            func part() -> Int {
                let part = Int.random(in: 0...left, using: &random)
                left -= part
                return part
            }
            let output = Int.random(in: 0...500, using: &random)
            let usage = Usage(
                input: part(), cacheRead: part(), cacheWrite5m: part(), cacheWrite1h: part(), output: output,
                reasoning: Int.random(in: 0...output, using: &random), serviceTier: served)
            let demand = HoldDemand(
                price: price, inputTokens: bound, outputTokens: 500, webSearches: 0, canBeCut: false, requested: requested)
            #expect(price.cost(of: usage) <= demand.full, "seed \(seed)")
            let money = NanoDollars(Int64.random(in: 0...40_000_000, using: &random))
            if let most = price.affordableOutput(inputTokens: bound, within: money, requested: requested), most >= output {
                #expect(price.cost(of: usage) <= money, "seed \(seed)")
            }
        }
    }

    // MARK: Intervals

    @Test func `prices of one line follow each other: an open one ends where the next begins, and none comes back`() throws {
        let book = PriceBook([
            try Self.price(0, nil, PriceTable(standard: Self.classes(1, 1))),
            try Self.price(100, 200, PriceTable(standard: Self.classes(2, 2))),
        ])
        func input(_ at: Double) -> Int64? {
            book.price(of: "m", type: .openai, organization: Stage.organization, at: Date(timeIntervalSince1970: at))?.standard
                .input
                .value
        }
        #expect(input(-1) == nil && input(0) == 1 && input(99) == 1 && input(100) == 2 && input(199.9) == 2)
        #expect(input(200) == nil)
    }

    @Test func `overlapping intervals are refused by name`() throws {
        try PriceIntervals.check([try Self.price(0, nil), try Self.price(100, 200), try Self.price(200, nil)])
        try PriceIntervals.check([
            try Self.price(0, nil), try Self.price(0, nil, provider: "p"), try Self.price(0, nil, model: "n"),
        ])
        for pair in [(try Self.price(0, 101), try Self.price(100, nil)), (try Self.price(0, nil), try Self.price(0, 5))] {
            let error = #expect(throws: AppError.self) { try PriceIntervals.check([pair.1, pair.0]) }
            #expect(error?.message.contains("m (openai)") == true && error?.message.contains("1970-01-01T00:") == true)
        }
    }

    @Test func `custom prices come before imported ones, these before the book, and those of one provider before its type's`()
        throws
    {
        var book = PriceBook([try Self.price(0, nil, PriceTable(standard: Self.classes(1, 1)))])
        func input(_ named: String? = "p") -> Int64? {
            book.price(of: "m", type: .openai, named: named, organization: Stage.organization, at: Date())?.standard.input.value
        }
        #expect(input() == 1)
        for (input2, provider, imported) in [
            (2, nil, "litellm"), (3, "p", "litellm"), (4, nil, nil), (5, "p", nil),
        ] as [(Int64, String?, String?)] {
            book.add(
                try Self.price(
                    0, nil, PriceTable(standard: Self.classes(input2, 1)), provider: provider, imported: imported,
                    organization: Stage.organization), for: Stage.organization)
            #expect(input() == input2)
        }
        #expect(input("q") == 4 && input(nil) == 4)
        #expect(book.price(of: "m", type: .openai, organization: OrganizationID(), at: Date())?.standard.input.value == 1)
    }

    @Test func `a new price follows the last one, one with an end lets it go on, and anything else needs replacing`() throws {
        func moved(_ price: ModelPrice, _ from: Date, _ to: Date?) throws -> ModelPrice {
            try Self.price(from.timeIntervalSince1970, to?.timeIntervalSince1970, price.body.table(.standard))
        }
        func place(_ price: ModelPrice, _ line: [ModelPrice], _ replacing: Bool = false) throws -> String {
            let placement = try PricePlacement(price, among: line, replacing: replacing, moved: moved)
            func text(_ prices: [ModelPrice]) -> String {
                prices.sorted { $0.validFrom < $1.validFrom }.map {
                    "\($0.standard.input.value):\(Int($0.validFrom.timeIntervalSince1970))-\($0.validTo.map { "\(Int($0.timeIntervalSince1970))" } ?? "")"
                }.joined(separator: " ")
            }
            return "\(text(placement.added)) / \(text(placement.withdrawn))"
        }
        func p(_ input: Int64, _ from: Double, _ to: Double? = nil) throws -> ModelPrice {
            try Self.price(from, to, PriceTable(standard: Self.classes(input, 1)))
        }
        #expect(try place(p(2, 10), [p(1, 0)]) == "2:10- / ")
        #expect(try place(p(2, 10, 20), [p(1, 0)]) == "2:10-20 1:20- / ")
        #expect(try place(p(2, 10), [p(1, 0, 10)]) == "2:10- / ")
        for (new, line) in [(try p(2, 5), [try p(1, 0, 10)]), (try p(2, 0), [try p(1, 5)]), (try p(2, 5), [try p(1, 5)])] {
            let error = #expect(throws: AppError.self) { _ = try place(new, line) }
            #expect(error?.code == .conflict && error?.message.contains("--replace") == true)
        }
        #expect(try place(p(3, 5, 15), [p(1, 0, 10), p(2, 10, 20)], true) == "1:0-5 3:5-15 2:15-20 / 1:0-10 2:10-20")
        #expect(try place(p(3, 5), [p(1, 0), p(2, 10)], true) == "1:0-5 3:5- / 1:0- 2:10-")
        #expect(try place(p(3, 5), [p(1, 5)], true) == "3:5- / 1:5-")
    }

    @Test func `a price keeps its id through the database's instants, and older rows keep theirs`() throws {
        let fine = Date(microseconds: 1_795_000_000_123_457)
        let a = try Self.price(fine.timeIntervalSince1970)
        let b = try Self.price(Date(microseconds: a.validFrom.microseconds).timeIntervalSince1970)
        let whole = try Self.price(1_795_000_000)
        #expect(a.id == b.id && a.id != whole.id)
        // As it was before tiers, services and fractions were there: the same JSON, the same bytes.
        let body = ModelPrice.Body(contextTokens: 1, maxOutputTokens: 1, standard: Stage.price)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        #expect(
            String(decoding: try encoder.encode(body), as: UTF8.self)
                == #"{"contextTokens":1,"maxOutputTokens":1,"standard":{"cacheRead":100000,"cacheWrite1h":1000000,"cacheWrite5m":1000000,"input":1000000,"output":10000000,"webSearch":0}}"#
        )
    }
}

/// The same numbers for the same seed (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
