import API
import ArgumentParser
import Core
import Foundation

extension ModelsCommand {
    struct Price: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the price of a model, in dollars per million tokens. A model without one cannot be called.")
        @OptionGroup var connection: Connection
        @Argument(help: "Model id as the provider writes it.") var model: String
        @Option(help: "Type of the providers it counts for, e.g. anthropic or openai.") var type: String
        @Option(help: "Only for the provider of this name.") var provider: String?
        @Option(name: .customLong("input-price"), help: "Input tokens.") var inputPrice: String
        @Option(name: .customLong("output-price"), help: "Output tokens.") var outputPrice: String
        @Option(help: "Cached input tokens; default: as input.") var cacheRead: String?
        @Option(help: "Input tokens written to the cache for five minutes; default: as input.") var cacheWrite: String?
        @Option(name: .customLong("cache-write-1h"), help: "Written for an hour; default: as --cache-write.")
        var cacheWrite1h: String?
        @Option(help: "Output tokens that are reasoning; default: as output.") var reasoning: String?
        @Option(help: "One web search, in dollars; default: 0.") var webSearch: String?
        @Option(help: "The model's context, in tokens; default: 200000.") var context: Int?
        @Option(help: "Its longest answer, in tokens; default: 32000.") var maxOutput: Int?
        @Option(help: "From when on, a day (UTC) or a time such as 2026-11-01T00:00:00Z; default: now.") var from: String?
        @Option(help: "Until when; default: until the next price begins.") var to: String?
        @Flag(help: "Put it in the place of prices that its interval overlaps with.") var replace = false

        func run() async throws {
            try await reporting {
                try await connection.client().send(
                    "POST", APIPaths.models,
                    SetModelPriceRequest(
                        type: type, provider: provider, model: model, inputPerMillion: try micro(inputPrice, "--input-price"),
                        outputPerMillion: try micro(outputPrice, "--output-price"),
                        cacheReadPerMillion: try cacheRead.map { try micro($0, "--cache-read") },
                        cacheWritePerMillion: try cacheWrite.map { try micro($0, "--cache-write") },
                        cacheWrite1hPerMillion: try cacheWrite1h.map { try micro($0, "--cache-write-1h") },
                        reasoningPerMillion: try reasoning.map { try micro($0, "--reasoning") },
                        webSearchNanoDollars: try webSearch.map { try nano($0, "--web-search") }, contextTokens: context,
                        maxOutputTokens: maxOutput, validFrom: try from.map { try Text.instant($0, "--from") },
                        validTo: try to.map { try Text.instant($0, "--to") }, replace: replace ? true : nil))
                try connection.done("\(model): priced.")
            }
        }

        private func micro(_ dollars: String, _ option: String) throws -> Int64 {
            let value = try nano(dollars, option)
            guard value.isMultiple(of: 1000) else {
                throw Failure(.usage, "\(option) is '\(dollars)'; it must be dollars with at most six decimals, e.g. 3 or 0.30.")
            }
            guard value <= 1_000_000_000_000_000 else {
                throw Failure(.usage, "\(option) is '\(dollars)'; it must be from 0 to 1000000 dollars per million tokens.")
            }
            return value / 1000
        }

        private func nano(_ dollars: String, _ option: String) throws -> Int64 {
            guard let value = NanoDollars(dollars: dollars) else {
                throw Failure(.usage, "\(option) is '\(dollars)'; it must be dollars with at most six decimals, e.g. 3 or 0.30.")
            }
            return value.value
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take prices from a file of models.dev, LiteLLM or Slipway. Shows what differs from the book.")
        @OptionGroup var connection: Connection
        @Argument(help: "The file.", completion: .file()) var file: String
        @Option(help: "models.dev (api.json), litellm (model_prices_and_context_window.json) or slipway (as in config/prices).")
        var format: String
        @Flag(help: "Only show what would change.") var dryRun = false
        @Flag(help: "Take prices that look wrong, too.") var force = false
        @Option(help: "Only what the file has under this provider, e.g. openrouter; with --type, if that is no type.")
        var section: String?
        @Option(help: "Only for providers of this type.") var type: String?
        @Option(help: "The prices count for the provider of this name alone.") var provider: String?
        @Option(help: "From when on they count, a day (UTC) or a time; default: now.") var from: String?

        func run() async throws {
            try await reporting {
                let query: [(String, String?)] = [
                    ("format", format), ("dry_run", dryRun ? "true" : nil), ("force", force ? "true" : nil), ("section", section),
                    ("type", type), ("provider", provider),
                    ("from", try from.map { APICoding.text(of: try Text.instant($0, "--from")) }),
                ]
                let report: PriceImportReport = try await connection.client().send(
                    file: file, to: APIPaths.modelImport, query: query)
                try connection.show(report, text: Self.show)
            }
        }

        private static func show(_ report: PriceImportReport) {
            func price(_ line: String, _ value: Int64?) -> String {
                guard let value else { return "-" }
                if line.hasSuffix("_tokens") { return "\(value)" }
                return Text.money(line == "web_search" ? value : value * 1000)
            }
            var table = Table("model", "type", "", "price", "#before", "#now")
            for line in report.lines where line.outcome != "same" {
                for (index, difference) in line.differences.enumerated() {
                    let first = index == 0
                    table.add(
                        first ? line.model : "", first ? line.type : "", first ? line.outcome : "", difference.name,
                        price(difference.name, difference.before), price(difference.name, difference.after))
                }
                for finding in line.findings { table.add("", "", "", "! \(finding)", "", "") }
            }
            table.show(ifEmpty: "Nothing differs from the book.")
            func count(_ outcome: String) -> Int { report.lines.count { $0.outcome == outcome } }
            let taken = report.dryRun ? "would be taken" : "taken"
            print(
                "\n\(count("new")) new and \(count("changed")) changed prices \(taken); \(count("same")) are as in the book, \(count("refused")) refused, \(report.skipped) of other providers or without a price."
            )
            if count("refused") > 0 { print("Look at the refused ones; --force takes them.") }
        }
    }

    struct Rerate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Price past calls by the book as it is now. Shows what differs; --apply books corrections.")
        @OptionGroup var connection: Connection
        @Option(help: "Calls that began at or after this day (UTC) or time.") var from: String
        @Option(help: "… and before this one.") var to: String
        @Option(help: "Only calls of this model.") var model: String?
        @Flag(help: "Book the corrections: rows of their own, and budgets of the time of the calls.") var apply = false

        func run() async throws {
            try await reporting {
                let report: RerateReport = try await connection.client().post(
                    APIPaths.rerate,
                    RerateRequest(
                        from: try Text.instant(from, "--from"), to: try Text.instant(to, "--to"), model: model,
                        apply: apply ? true : nil),
                    timeout: .seconds(3600))
                try connection.show(report) { report in
                    var table = Table("provider", "model", "#calls", "#differ", "#they cost", "#now cost", "#no price", "#unknown")
                    for line in report.lines {
                        table.add(
                            line.provider, line.model, "\(line.calls)", "\(line.differing)", Text.money(line.beforeNanoDollars),
                            Text.money(line.afterNanoDollars), "\(line.unpriced)", "\(line.unknown)")
                    }
                    table.show(ifEmpty: "No model calls in that time.")
                    let what = report.applied ? "Corrected by" : "Would be corrected by"
                    if !report.lines.isEmpty { print("\nWhat they cost, and now cost, is summed over the calls that differ.") }
                    print("\n\(what) \(Text.money(report.amountNanoDollars)) in all.")
                }
            }
        }
    }
}
