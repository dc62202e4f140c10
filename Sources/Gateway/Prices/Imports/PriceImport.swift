import Core
import Foundation
import ModelAPI

/// A file of prices from elsewhere, compared with the book.
package struct PriceImport: Sendable {
    package enum Format: String, Sendable, CaseIterable {
        case modelsDev = "models.dev"
        case litellm
        /// The files of `config/prices/`.
        case slipway
    }

    package struct Options: Sendable {
        package var format: Format
        /// The file's own word for a provider; nil: every one whose type Slipway knows.
        package var section: String?
        /// The prices are to count for this provider alone.
        package var providerName: String?
        /// Needed with `section`, unless the section is the name of a type.
        package var type: ProviderType?
        /// Nil: now.
        package var validFrom: Date?
        /// Takes what looks wrong, too.
        package var isForced: Bool
        package var isDry: Bool

        package init(
            format: Format, section: String? = nil, providerName: String? = nil, type: ProviderType? = nil, validFrom: Date? = nil,
            isForced: Bool = false, isDry: Bool = false
        ) {
            self.format = format
            self.section = section
            self.providerName = providerName
            self.type = type
            self.validFrom = validFrom
            self.isForced = isForced
            self.isDry = isDry
        }
    }

    /// What becomes of one model.
    package struct Line: Sendable, Equatable {
        package enum Outcome: String, Sendable { case new, changed, same, refused }

        package struct Difference: Sendable, Equatable {
            /// As in the book's files, e.g. `cache_read`, `above 200000 input`, `priority output`.
            package var name: String
            /// Millionths of a dollar per million tokens; nil: not priced.
            package var before: Int64?
            package var after: Int64?
        }

        package var type: ProviderType
        package var model: String
        package var outcome: Outcome
        package var differences: [Difference]
        package var findings: [String]
        var body: ModelPrice.Body?
        /// Of the file's own intervals; only of the book's format.
        var validFrom: Date?
        var validTo: Date?

        package static func == (a: Line, b: Line) -> Bool {
            a.type == b.type && a.model == b.model && a.outcome == b.outcome && a.differences == b.differences
                && a.findings == b.findings
        }
    }

    package var lines: [Line] = []
    /// Models of providers that Slipway has no type for.
    package var skipped = 0

    /// - Throws: `badRequest` for what is no file of the format.
    init(_ bytes: Data, _ options: Options, book: PriceBook, organization: OrganizationID, at now: Date) throws {
        if options.format == .slipway {
            try readBook(bytes, options, book, organization, now)
            return
        }
        let json: PriceJSON
        do {
            json = try JSONDecoder().decode(PriceJSON.self, from: bytes)
        } catch {
            throw AppError(.badRequest, "The file is no valid JSON.", field: "file", cause: error)
        }
        let all = try options.format == .modelsDev ? ModelsDevFile.read(json) : LiteLLMFile.read(json)
        var wanted: [(ImportedPrice, ProviderType)] = []
        for price in all {
            if let section = options.section, price.section != section { continue }
            guard let type = options.type.flatMap({ options.section == nil ? nil : $0 }) ?? Self.type(of: price.section) else {
                skipped += 1
                continue
            }
            if let only = options.type, only != type { continue }
            wanted.append((price, type))
        }
        if let section = options.section, wanted.isEmpty {
            let sections = Set(all.map(\.section)).sorted().prefix(40).joined(separator: ", ")
            throw AppError(
                .badRequest,
                skipped > 0
                    ? "'\(section)' is no type of provider that Slipway knows; say which with --type."
                    : "The file has no provider '\(section)'; it has: \(sections).", field: "section")
        }
        var priced = book.all(organization: organization, at: now).map { entry in
            PriceSanity.Known(
                type: entry.price.providerType, model: entry.price.model,
                isFree: entry.price.standard.input.value == 0 && entry.price.standard.output.value == 0)
        }
        for (price, type) in wanted {
            let rates = price.tables[.standard]?.standard
            priced.append(.init(type: type, model: price.model, isFree: (rates?.input ?? 0) == 0 && (rates?.output ?? 0) == 0))
        }
        let sanity = PriceSanity(priced)
        for (price, type) in wanted {
            // What the admin set by hand stays in force and is no measure of a list price.
            let known = book.entry(
                of: price.model, type: type, named: options.providerName, organization: organization, at: now,
                among: [.imported, .book])?.price.body
            guard
                let body = price.body(
                    over: known, providerName: options.providerName, format: options.format.rawValue,
                    isAnthropic: type == .anthropic)
            else {
                skipped += 1
                continue
            }
            lines.append(Self.line(body, known, type, price.model, sanity.findings(price, body, type: type, old: known), options))
        }
    }

    static func line(
        _ body: ModelPrice.Body, _ known: ModelPrice.Body?, _ type: ProviderType, _ model: String,
        _ findings: [PriceSanity.Finding],
        _ options: Options
    ) -> Line {
        let differences = Self.differences(known, body)
        let isRefused = findings.contains { $0.isFinal || !options.isForced }
        let outcome: Line.Outcome =
            known != nil && differences.isEmpty ? .same : isRefused ? .refused : known == nil ? .new : .changed
        return Line(
            type: type, model: model, outcome: outcome, differences: differences,
            findings: outcome == .same ? [] : findings.map(\.text), body: body)
    }

    static func differences(_ old: ModelPrice.Body?, _ new: ModelPrice.Body) -> [Line.Difference] {
        func named(_ body: ModelPrice.Body) -> [(name: String, value: Int64)] {
            PriceSanity.classes(body) + [
                ("web_search", body.standard.webSearch.value), ("context_tokens", Int64(body.contextTokens)),
                ("max_output_tokens", Int64(body.maxOutputTokens)),
            ]
        }
        let before = old.map(named) ?? []
        let after = named(new)
        let names = after.map(\.name) + before.map(\.name).filter { name in !after.contains { $0.name == name } }
        return names.compactMap { name in
            let (a, b) = (before.first { $0.name == name }?.value, after.first { $0.name == name }?.value)
            return a == b ? nil : .init(name: name, before: a, after: b)
        }
    }

    /// The files' own words for providers whose type Slipway knows.
    private static func type(of section: String) -> ProviderType? {
        let alias = ["google": "gemini", "amazon-bedrock": "bedrock", "bedrock_converse": "bedrock", "azure_ai": "azure"][section]
        return ProviderType(rawValue: alias ?? section)
    }

    private mutating func readBook(
        _ bytes: Data, _ options: Options, _ book: PriceBook, _ organization: OrganizationID, _ now: Date
    ) throws {
        let prices = try PriceFile.read(String(decoding: bytes, as: UTF8.self), name: "that was sent")
        try PriceIntervals.check(prices)
        for price in prices {
            let known = book.entry(
                of: price.model, type: price.providerType, named: options.providerName, organization: organization,
                at: max(price.validFrom, now), among: [.imported, .book])?.price.body
            var body = price.body
            body.providerName = options.providerName
            body.importedFrom = options.format.rawValue
            // Written by hand for this book: its own sanity is the reader's.
            var line = Self.line(body, known, price.providerType, price.model, [], options)
            (line.validFrom, line.validTo) = (price.validFrom, price.validTo)
            lines.append(line)
        }
    }
}
