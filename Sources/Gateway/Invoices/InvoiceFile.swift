import Core
import Foundation

/// What a provider says it billed: by day and model. Columns are found by their names, whatever their order.
struct InvoiceFile: Sendable {
    struct Row: Sendable, Equatable {
        /// E.g. `2026-11-21`, UTC.
        var day: String
        var model: String
        /// Nil: the file has no cost.
        var cost: NanoDollars?
        var inputTokens: Int?
        var outputTokens: Int?
    }

    var rows: [Row]
    var hasCost: Bool
    /// Totals, fees, taxes: what is of no model, and so is compared with nothing.
    var rest = Rest()

    struct Rest: Sendable, Equatable {
        var rows = 0
        var cost = NanoDollars.zero
    }

    /// What each column may be called, without case, spaces, underscores and units in brackets; the first one that is there counts.
    static let dayNames = [
        "date", "day", "usagedateutc", "usagedate", "dateutc", "starttimeiso", "starttime", "bucketstarttime", "startingat",
    ]
    static let modelNames = ["model", "modelversion", "modelname", "modelid", "snapshotid", "snapshot", "lineitem", "description"]
    static let costNames = ["cost", "costusd", "amountvalue", "amount", "amountusd", "totalcost", "totalcostusd", "costinusd"]
    static let currencyNames = ["currency", "amountcurrency"]
    /// Each of them is a class of its own; all that are there are summed.
    static let inputNames = [
        "usageinputtokensnocache", "usageinputtokenscachewrite5m", "usageinputtokenscachewrite1h", "usageinputtokenscacheread",
        "uncachedinputtokens", "cachecreationinputtokens", "cachereadinputtokens",
    ]
    /// All of the input in one.
    static let wholeInputNames = ["inputtokens", "prompttokens", "ncontexttokenstotal", "contexttokens"]
    static let outputNames = ["usageoutputtokens", "outputtokens", "completiontokens", "ngeneratedtokenstotal", "generatedtokens"]

    /// - Throws: `badRequest` that names the column that is missing and what it may be called, or the line and what is wrong in it.
    init(_ data: Data) throws {
        let csv = try CSV(data)
        let names = csv.header.map(Self.plain)
        func find(_ wanted: [String]) -> Int? { wanted.lazy.compactMap { names.firstIndex(of: $0) }.first }
        func need(_ wanted: [String], _ what: String) throws -> Int {
            if let index = find(wanted) { return index }
            throw AppError(
                .badRequest,
                "The file has no column for the \(what): expected one named \(wanted.joined(separator: ", ")) (case, spaces and underscores do not matter); it has \(csv.header.joined(separator: ", ")).",
                field: "file")
        }
        let day = try need(Self.dayNames, "day")
        let model = try need(Self.modelNames, "model")
        let cost = find(Self.costNames)
        let currency = find(Self.currencyNames)
        var inputs = names.indices.filter { Self.inputNames.contains(names[$0]) }
        if inputs.isEmpty, let whole = find(Self.wholeInputNames) { inputs = [whole] }
        let output = find(Self.outputNames)
        guard cost != nil || !inputs.isEmpty || output != nil else {
            _ = try need(Self.costNames, "cost, and none for tokens")
            rows = []
            hasCost = false
            return
        }
        hasCost = cost != nil
        var sums = Sums()
        var rest = Rest()
        rows = try csv.rows.compactMap { line, fields -> Row? in
            if let currency, !fields[currency].isEmpty, fields[currency].lowercased() != "usd" {
                throw AppError(
                    .badRequest, "Line \(line) is in \(fields[currency]); only US dollars can be compared.", field: "file")
            }
            let name = fields[model].trimmingCharacters(in: .whitespaces)
            let amount = try cost.map { try Self.money(fields[$0], line, csv.header[$0]) }
            if name.isEmpty {
                if fields.allSatisfy({ $0.trimmingCharacters(in: .whitespaces).isEmpty }) { return nil }
                try sums.add(cost: amount, tokens: 0, line)
                rest.rows += 1
                rest.cost = rest.cost + (amount ?? .zero)
                return nil
            }
            func count(_ index: Int) throws -> Int {
                let text = fields[index].replacing(",", with: "").trimmingCharacters(in: .whitespaces)
                guard let number = text.isEmpty ? 0 : Int(text) ?? Double(text).flatMap({ Int(exactly: $0) }),
                    (0...Self.mostTokens).contains(number)
                else {
                    throw AppError(
                        .badRequest,
                        "Line \(line): '\(fields[index].prefix(64))' under \(csv.header[index]) is no number of tokens from 0 to \(Self.mostTokens).",
                        field: "file")
                }
                return number
            }
            let row = Row(
                day: try Self.day(fields[day], line, csv.header[day]), model: name,
                cost: amount,
                inputTokens: inputs.isEmpty ? nil : try inputs.reduce(0) { try $0 + count($1) },
                outputTokens: try output.map(count))
            try sums.add(cost: amount, tokens: (row.inputTokens ?? 0) + (row.outputTokens ?? 0), line)
            return row
        }
        self.rest = rest
    }

    /// Of one field: more than any provider has sold of one model in a day.
    static let mostTokens = 1_000_000_000_000

    /// What all rows come to, without signs, so that no sum over some of them can overflow, nor one with what is booked.
    private struct Sums {
        static let most: Int64 = 4_000_000_000_000_000_000
        var cost: Int64 = 0
        var tokens: Int64 = 0

        mutating func add(cost amount: NanoDollars?, tokens number: Int, _ line: Int) throws {
            func sum(_ sum: Int64, _ amount: Int64, _ what: String) throws -> Int64 {
                let (result, overflowed) = sum.addingReportingOverflow(amount)
                if !overflowed, result <= Self.most { return result }
                throw AppError(
                    .badRequest, "Line \(line): with it the \(what) of the file are more than can be added up; split the file.",
                    field: "file")
            }
            cost = try sum(cost, Int64(clamping: amount?.value.magnitude ?? 0), "costs")
            tokens = try sum(tokens, Int64(number), "tokens")
        }
    }

    private static func plain(_ name: String) -> String {
        String(name.lowercased().prefix { $0 != "(" }.filter { $0.isLetter || $0.isNumber })
    }

    /// A date or a time of RFC 3339, or seconds since 1970.
    private static func day(_ text: String, _ line: Int, _ column: String) throws -> String {
        let text = text.trimmingCharacters(in: .whitespaces)
        if let match = text.prefixMatch(of: /([0-9]{4}-[0-9]{2}-[0-9]{2})([T ].*)?/), match.0.count == text.count {
            return String(match.1)
        }
        if let seconds = Double(text), (1_000_000_000..<10_000_000_000).contains(seconds) {
            return Date(timeIntervalSince1970: seconds).formatted(.iso8601.year().month().day())
        }
        throw AppError(.badRequest, "Line \(line): '\(text)' under \(column) is no day such as 2026-11-21.", field: "file")
    }

    /// Dollars; credits are negative. More than nine decimals are rounded half up.
    private static func money(_ text: String, _ line: Int, _ column: String) throws -> NanoDollars {
        var plain = text.trimmingCharacters(in: .whitespaces).replacing("$", with: "").replacing(",", with: "")
        if plain.isEmpty { plain = "0" }
        guard plain.wholeMatch(of: /-?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?/) != nil,
            let dollars = Decimal(string: plain, locale: Locale(identifier: "en_US_POSIX")), abs(dollars) <= 1_000_000_000
        else { throw AppError(.badRequest, "Line \(line): '\(text)' under \(column) is no amount of dollars.", field: "file") }
        var (whole, exact) = (Decimal(), dollars * 1_000_000_000)
        NSDecimalRound(&whole, &exact, 0, .plain)
        return NanoDollars(NSDecimalNumber(decimal: whole).int64Value)
    }
}
