import Core
import Foundation
import ModelAPI
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct PriceImportTests {
    private static let now = Date(timeIntervalSince1970: 1_795_000_000)

    private static func read(
        _ text: String, _ format: PriceImport.Format, book: PriceBook = PriceBook([]), section: String? = nil,
        type: ProviderType? = nil, force: Bool = false
    ) throws -> PriceImport {
        try PriceImport(
            Data(text.utf8), .init(format: format, section: section, type: type, isForced: force), book: book,
            organization: Stage.organization, at: now)
    }

    private static let modelsDev = """
        {
          "anthropic": {"id": "anthropic", "name": "Anthropic", "models": {
            "claude-x-1": {"id": "claude-x-1", "name": "X", "limit": {"context": 1000000, "output": 64000},
              "cost": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75,
                       "context_over_200k": {"input": 6, "output": 22.5, "cache_read": 0.6, "cache_write": 7.5}}}}},
          "openai": {"id": "openai", "models": {
            "gpt-x": {"id": "gpt-x", "limit": {"context": 400000, "output": 128000},
              "cost": {"input": 1.25, "output": 10, "cache_read": 0.125, "tiers": [{"tier": {"size": 272000}, "input": 2.5, "output": 15}]},
              "experimental": {"modes": {"fast": {"cost": {"input": 2.5, "output": 20}, "provider": {"body": {"service_tier": "priority"}}}}}},
            "gpt-free": {"id": "gpt-free", "limit": {"context": 1000, "output": 100}, "cost": {"input": 0, "output": 0}},
            "no-cost": {"id": "no-cost"}}},
          "openrouter": {"id": "openrouter", "models": {"z/glm": {"id": "z/glm", "limit": {"context": 1000, "output": 100}, "cost": {"input": 0.6, "output": 2.2}}}}
        }
        """

    private static let litellm = """
        {
          "sample_spec": {"litellm_provider": "one of", "input_cost_per_token": 0.0, "mode": "chat"},
          "claude-x-1": {"litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 200000, "max_output_tokens": 64000, "max_tokens": 64000,
            "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
            "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
            "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05,
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05,
            "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_medium": 0.01, "search_context_size_high": 0.01}},
          "gpt-x": {"litellm_provider": "openai", "mode": "responses", "max_input_tokens": 272000, "max_output_tokens": 128000,
            "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07,
            "input_cost_per_token_priority": 2.5e-06, "output_cost_per_token_priority": 2e-05,
            "input_cost_per_token_flex": 6.25e-07, "output_cost_per_token_flex": 5e-06, "cache_read_input_token_cost_flex": 6.25e-08,
            "input_cost_per_token_batches": 6.25e-07, "output_cost_per_token_batches": 5e-06,
            "output_cost_per_reasoning_token": 1.1e-05, "input_cost_per_image": 0.1},
          "text-embed": {"litellm_provider": "openai", "mode": "embedding", "max_input_tokens": 8191, "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0},
          "dall-e": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1e-08},
          "mistral/large": {"litellm_provider": "mistral", "mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 6e-06}
        }
        """

    private func line(_ found: PriceImport, _ model: String) throws -> PriceImport.Line {
        try #require(found.lines.first { $0.model == model }, "\(model)")
    }

    @Test func `a file of models.dev is read with its tiers and services, and what it cannot say is filled in dearly`() throws {
        let found = try Self.read(Self.modelsDev, .modelsDev)
        #expect(
            found.lines.map { "\($0.type.rawValue)/\($0.model) \($0.outcome.rawValue)" } == [
                "anthropic/claude-x-1 new", "openai/gpt-free refused", "openai/gpt-x new",
            ])
        #expect(found.skipped == 1)
        let claude = try #require(try line(found, "claude-x-1").body)
        // No file of models.dev has the price of an hour: with Anthropic it is twice the input's.
        #expect(
            claude.standard
                == PriceClasses(
                    input: .init(3_000_000), cacheRead: .init(300_000), cacheWrite5m: .init(3_750_000),
                    cacheWrite1h: .init(6_000_000),
                    output: .init(15_000_000)))
        #expect(claude.longContext?.above == 200_000 && claude.longContext?.price.cacheWrite1h.value == 12_000_000)
        #expect(claude.contextTokens == 1_000_000 && claude.maxOutputTokens == 64_000 && claude.importedFrom == "models.dev")
        let gpt = try #require(try line(found, "gpt-x").body)
        #expect(gpt.longContext?.above == 272_000 && gpt.longContext?.price.input.value == 2_500_000)
        #expect(gpt.longContext?.price.cacheRead.value == 125_000)
        #expect(gpt.table(.priority).standard.output.value == 20_000_000 && !gpt.hasTable(.batch))
        // A cache class that nobody prices costs what input costs, never nothing.
        #expect(gpt.standard.cacheWrite5m.value == 1_250_000)
        #expect(try line(found, "gpt-free").findings == ["it costs nothing, where others of its family have a price"])
    }

    @Test func `a file of LiteLLM is read exactly, with every suffix`() throws {
        let found = try Self.read(Self.litellm, .litellm)
        #expect(found.lines.map { "\($0.model) \($0.outcome.rawValue)" } == ["claude-x-1 new", "gpt-x new", "text-embed new"])
        #expect(found.skipped == 1)
        let claude = try #require(try line(found, "claude-x-1").body)
        #expect(claude.standard.cacheWrite1h.value == 6_000_000 && claude.standard.webSearch == NanoDollars(10_000_000))
        let long = try #require(claude.longContext)
        #expect(long.above == 200_000 && long.price.output.value == 22_500_000 && long.price.cacheWrite1h.value == 12_000_000)
        let gpt = try #require(try line(found, "gpt-x").body)
        #expect(gpt.standard.reasoning?.value == 11_000_000 && gpt.standard.cacheRead.value == 125_000)
        #expect(gpt.table(.flex).standard.cacheRead.value == 62_500 && gpt.table(.flex).standard.input.value == 625_000)
        #expect(gpt.table(.priority).standard.input.value == 2_500_000 && gpt.table(.batch).standard.output.value == 5_000_000)
        // Priority has no price of its own for cache reads here: the standard one stands.
        #expect(gpt.table(.priority).standard.cacheRead.value == 125_000)
        let embedding = try #require(try line(found, "text-embed").body)
        #expect(embedding.standard.input.value == 20_000 && embedding.standard.output.value == 0)
    }

    @Test func `reading the same file again changes nothing, and what another file cannot say stays`() throws {
        var book = PriceBook([])
        for line in try Self.read(Self.litellm, .litellm).lines {
            book.add(
                try ModelPrice(
                    providerType: line.type, model: line.model, validFrom: Date(timeIntervalSince1970: 0), validTo: nil,
                    organization: Stage.organization, body: try #require(line.body)), for: Stage.organization)
        }
        #expect(try Self.read(Self.litellm, .litellm, book: book).lines.allSatisfy { $0.outcome == .same })
        let other = try #require(try line(try Self.read(Self.modelsDev, .modelsDev, book: book), "gpt-x").body)
        #expect(other.table(.batch).standard.output.value == 5_000_000 && other.standard.reasoning?.value == 11_000_000)
    }

    @Test func `one provider of a file can be taken for a type and a name`() throws {
        let found = try Self.read(Self.modelsDev, .modelsDev, section: "openrouter", type: .openai)
        #expect(found.lines.map(\.model) == ["z/glm"] && found.lines[0].type == .openai)
        let unknown = #expect(throws: AppError.self) { _ = try Self.read(Self.modelsDev, .modelsDev, section: "nobody") }
        #expect(unknown?.message.contains("anthropic, openai, openrouter") == true)
        let untyped = #expect(throws: AppError.self) { _ = try Self.read(Self.modelsDev, .modelsDev, section: "openrouter") }
        #expect(untyped?.message.contains("--type") == true)
    }

    @Test func `files of another format are refused with what is expected`() throws {
        for (text, format) in [
            ("{", PriceImport.Format.litellm), ("[]", .modelsDev), (Self.litellm, .modelsDev), (Self.modelsDev, .litellm),
            ("{}", .slipway),
        ] {
            #expect(throws: AppError.self, "\(format)") { _ = try Self.read(text, format) }
        }
    }

    @Test func `prices that look wrong are refused by name unless forced`() throws {
        let book = PriceBook([
            try PriceTests.price(0, nil, PriceTable(standard: PriceTests.classes(2_000_000, 8_000_000)), model: "gpt-m")
        ])
        func findings(_ input: String, _ output: String, model: String = "gpt-m", extra: String = "", force: Bool = false) throws
            -> (
                String, PriceImport.Line.Outcome
            )
        {
            let text =
                #"{"\#(model)":{"litellm_provider":"openai","mode":"chat","max_input_tokens":1000000,"max_output_tokens":1000,"input_cost_per_token":\#(input),"output_cost_per_token":\#(output)\#(extra)}}"#
            let line = try line(try Self.read(text, .litellm, book: book, force: force), model)
            return (line.findings.joined(separator: "; "), line.outcome)
        }
        let negative = try findings("-1e-06", "1e-05", force: true)
        #expect(negative.0.contains("input is negative (-$1.00)") && negative.1 == .refused)
        #expect(try findings("0", "0").0.contains("costs nothing"))
        #expect(try findings("0", "0", model: "other").1 == .new)
        #expect(try findings("2e-06", "5e-07").0.contains("far cheaper"))
        // Dollars per thousand tokens taken for dollars per token, and the other way round.
        #expect(try findings("0.002", "0.008").0.contains("input looks like a mistake of units: $2.00 in the book, $2000.00 here"))
        #expect(try findings("2e-09", "8e-09").0.contains("output looks like a mistake of units"))
        #expect(try findings("0.002", "0.008", model: "unknown-1").0.contains("mistake of units"))
        #expect(try findings("2.1e-05", "8e-05").0.contains("input jumps more than tenfold: $2.00 in the book, $21.00 here"))
        #expect(try findings("1.9e-05", "8e-05").1 == .changed)
        #expect(try findings("2e-06", "8e-06", extra: #","cache_read_input_token_cost":1e-09"#).1 == .refused)
        for search in ["-0.01", "1000.01", "9000000"] {
            let searches = try findings(
                "2e-06", "8e-06", extra: #","search_context_cost_per_query":{"search_context_size_low":\#(search)}"#, force: true)
            #expect(searches.1 == .refused || searches.1 == .same, "\(search): \(searches)")
            #expect(
                search == "9000000" || searches.0.contains("web_search is not from $0.00 to $1000.00"), "\(search): \(searches)")
        }
        let forced = try findings("2.1e-05", "8e-05", force: true)
        #expect(forced.1 == .changed && forced.0.contains("tenfold"))
    }

    @Test func `two lines of a file for one model, and intervals that follow each other, leave one open price`() async throws {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                func entry(_ name: String, _ input: String) -> String {
                    #""\#(name)":{"litellm_provider":"openai","mode":"chat","max_input_tokens":1000,"max_output_tokens":100,"input_cost_per_token":\#(input),"output_cost_per_token":1e-05}"#
                }
                let file = "{\(entry("gpt-two", "1e-06")),\(entry("openai/gpt-two", "2e-06"))}"
                _ = try await gateway.prices.importing(admin, Data(file.utf8), .init(format: .litellm))
                func open(_ model: String) async throws -> [Int64] {
                    try await stage.pool.query(
                        """
                        SELECT (price->'standard'->>'input')::bigint AS input FROM ai_prices p
                        WHERE organization_id IS NOT NULL AND model = \(model) AND valid_to IS NULL
                          AND NOT EXISTS (SELECT FROM ai_price_withdrawals w WHERE w.price_id = p.id)
                        """
                    ).map { try $0["input"] }
                }
                #expect(try await open("gpt-two") == [2_000_000])
                // A price without an end, and a file with two intervals that take its place.
                func book(_ models: String) -> Data {
                    Data(#"{"provider_type":"openai","source":"s","models":[\#(models)]}"#.utf8)
                }
                func model(_ from: String, _ to: String?, _ input: String) -> String {
                    let end = to.map { #","valid_to":"\#($0)""# } ?? ""
                    return
                        #"{"model":"gpt-three","valid_from":"\#(from)"\#(end),"context_tokens":1000,"max_output_tokens":100,"price":{"input":"\#(input)","output":"10"}}"#
                }
                let (old, one, two) = ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
                _ = try await gateway.prices.importing(admin, book(model(old, nil, "1")), .init(format: .slipway))
                _ = try await gateway.prices.importing(
                    admin, book("\(model(one, two, "2")),\(model(two, nil, "3"))"), .init(format: .slipway))
                // The first one ends by itself where the next begins.
                #expect(Set(try await open("gpt-three")) == [1_000_000, 3_000_000])
                let from = try await stage.pool.query(
                    """
                    SELECT count(*) AS n FROM ai_prices p WHERE model = 'gpt-three'
                      AND NOT EXISTS (SELECT FROM ai_price_withdrawals w WHERE w.price_id = p.id) GROUP BY valid_from
                    """
                ).map { try $0["n", as: Int.self] }
                #expect(from == [1, 1, 1])
                let price = try gateway.settings.current().prices.price(
                    of: "gpt-three", type: .openai, organization: Stage.organization, at: Date())
                #expect(price?.standard.input == .init(3_000_000))
            }
        }
    }
}
