import Core
import Foundation
import ModelAPI

/// What makes a price in a file suspicious. Pure rules over what the file says and what the book has.
struct PriceSanity: Sendable {
    /// Why a price is not taken.
    struct Finding: Sendable, Equatable {
        var text: String
        /// Negative prices are refused even with `--force`.
        var isFinal = false
    }

    /// Inputs of models of the same family that cost something, by provider type.
    private let families: Set<String>

    struct Known: Sendable {
        var type: ProviderType
        var model: String
        var isFree: Bool
    }

    /// - Parameter known: what is priced already, and what the file itself prices.
    init(_ known: [Known]) { families = Set(known.filter { !$0.isFree }.map { Self.family($0.type, $0.model) }) }

    /// `gpt-5-mini` and `gpt-4.1` are of one family: the letters before the first digit.
    static func family(_ type: ProviderType, _ model: String) -> String {
        let letters = model.prefix { !$0.isNumber }
        return "\(type.rawValue)/\(letters.split(whereSeparator: { "-_./:".contains($0) }).first.map(String.init) ?? model)"
    }

    /// - Parameter old: the price in force.
    func findings(
        _ price: ImportedPrice, _ new: ModelPrice.Body, type: ProviderType, old: ModelPrice.Body?
    ) -> [Finding] {
        let all = Self.classes(new)
        if let bad = all.first(where: { $0.value < 0 }) {
            return [Finding(text: "\(bad.name) is negative (\(Self.dollars(bad.value)))", isFinal: true)]
        }
        if let bad = all.first(where: { $0.value > 1_000_000_000_000 }) {
            return [Finding(text: "\(bad.name) is over a dollar per token (\(Self.dollars(bad.value)))", isFinal: true)]
        }
        for search in Self.searches(new) where !(0...Self.dearestSearch).contains(search.value) {
            return [
                Finding(
                    text: "\(search.name) is not from $0.00 to $1000.00 (\(NanoDollars(search.value)))", isFinal: true)
            ]
        }
        do { try new.table(.standard).check(price.model) } catch {
            return [Finding(text: "its long-context tiers do not rise", isFinal: true)]
        }
        var found: [Finding] = []
        let (input, output) = (new.standard.input.value, new.standard.output.value)
        if input == 0, output == 0, families.contains(Self.family(type, price.model)) {
            found.append(Finding(text: "it costs nothing, where others of its family have a price"))
        } else if output < input / 2, !price.isEmbedding {
            found.append(Finding(text: "output (\(Self.dollars(output))) is far cheaper than input (\(Self.dollars(input)))"))
        }
        let before = old.map { Dictionary(Self.classes($0).map { ($0.name, $0.value) }, uniquingKeysWith: { a, _ in a }) } ?? [:]
        // What the file does not say was filled in, and is no mistake of the file.
        let stated = Self.stated(price)
        for (name, value) in all where stated.contains(name) {
            if let known = before[name], known > 0, value > 0 {
                let (high, low) = (max(known, value), min(known, value))
                if high / low >= 500, [1000, 1_000_000].contains(where: { abs(high - low * $0) <= low * $0 / 5 }) {
                    found.append(
                        Finding(
                            text:
                                "\(name) looks like a mistake of units: \(Self.dollars(known)) in the book, \(Self.dollars(value)) here"
                        ))
                } else if high > low * 10 {
                    found.append(
                        Finding(
                            text: "\(name) jumps more than tenfold: \(Self.dollars(known)) in the book, \(Self.dollars(value)) here"
                        ))
                }
            } else if value > Self.dearest || value > 0 && value < Self.cheapest {
                found.append(Finding(text: "\(name) looks like a mistake of units: \(Self.dollars(value)) per million tokens"))
            }
        }
        return found
    }

    /// No token class of a language model has ever been sold beyond these: 1,000 dollars and a hundredth of a cent per million.
    private static let dearest: Int64 = 1_000_000_000
    private static let cheapest: Int64 = 100

    /// 1,000 dollars, as `PriceRules` has it.
    private static let dearestSearch: Int64 = 1_000_000_000_000

    /// The price of a web search in every table.
    private static func searches(_ body: ModelPrice.Body) -> [(name: String, value: Int64)] {
        ServiceTier.allCases.filter { body.hasTable($0) }.flatMap { tier -> [(String, Int64)] in
            let table = body.table(tier)
            let name = tier == .standard ? "web_search" : "\(tier.rawValue) web_search"
            return ([table.standard] + (table.tiers ?? []).map(\.price)).map { (name, $0.webSearch.value) }
        }
    }

    /// Every class of every table, named as in the book's files.
    static func classes(_ body: ModelPrice.Body) -> [(name: String, value: Int64)] {
        ServiceTier.allCases.filter { body.hasTable($0) }.flatMap { tier -> [(String, Int64)] in
            let table = body.table(tier)
            let service = tier == .standard ? "" : "\(tier.rawValue) "
            return classes(table.standard, service)
                + (table.tiers ?? []).flatMap { classes($0.price, "\(service)above \($0.above) ") }
        }
    }

    /// The names of what the file says itself.
    private static func stated(_ price: ImportedPrice) -> Set<String> {
        var names: Set<String> = []
        func add(_ rates: ImportedPrice.Rates, _ prefix: String) {
            let all: [(String, Int64?)] = [
                ("input", rates.input), ("output", rates.output), ("cache_read", rates.cacheRead),
                ("cache_write_5m", rates.cacheWrite5m), ("cache_write_1h", rates.cacheWrite1h), ("reasoning", rates.reasoning),
            ]
            for (name, value) in all where value != nil { names.insert(prefix + name) }
        }
        for (tier, table) in price.tables {
            let service = tier == .standard ? "" : "\(tier.rawValue) "
            add(table.standard, service)
            for (above, rates) in table.tiers { add(rates, "\(service)above \(above) ") }
        }
        return names
    }

    private static func classes(_ c: PriceClasses, _ prefix: String) -> [(String, Int64)] {
        [
            ("input", c.input.value), ("output", c.output.value), ("cache_read", c.cacheRead.value),
            ("cache_write_5m", c.cacheWrite5m.value), ("cache_write_1h", c.cacheWrite1h.value),
        ].map { (prefix + $0.0, $0.1) } + (c.reasoning.map { [(prefix + "reasoning", $0.value)] } ?? [])
    }

    static func dollars(_ pico: Int64) -> String { NanoDollars(pico * 1000).description }
}
