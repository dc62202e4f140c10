import Foundation

/// `POST /api/v2/ai/models`: a price of one's own. All prices are millionths of a US dollar per million tokens.
public struct SetModelPriceRequest: Codable, Sendable, Equatable {
    /// A type of provider, e.g. `anthropic` or `openai`.
    public var type: String
    /// Absent: for every provider of the type.
    public var provider: String?
    public var model: String
    public var inputPerMillion: Int64
    public var outputPerMillion: Int64
    /// Absent: as input.
    public var cacheReadPerMillion: Int64?
    /// For five minutes; absent: as input.
    public var cacheWritePerMillion: Int64?
    /// For an hour; absent: as for five minutes.
    public var cacheWrite1hPerMillion: Int64?
    /// Absent: as output.
    public var reasoningPerMillion: Int64?
    /// For one search, in billionths of a dollar.
    public var webSearchNanoDollars: Int64?
    public var contextTokens: Int?
    public var maxOutputTokens: Int?
    /// Absent: from now on.
    public var validFrom: Date?
    /// Absent: until the next one begins.
    public var validTo: Date?
    /// What the interval overlaps with makes room; absent: it is refused.
    public var replace: Bool?

    public init(
        type: String, provider: String? = nil, model: String, inputPerMillion: Int64, outputPerMillion: Int64,
        cacheReadPerMillion: Int64? = nil, cacheWritePerMillion: Int64? = nil, cacheWrite1hPerMillion: Int64? = nil,
        reasoningPerMillion: Int64? = nil, webSearchNanoDollars: Int64? = nil, contextTokens: Int? = nil,
        maxOutputTokens: Int? = nil, validFrom: Date? = nil, validTo: Date? = nil, replace: Bool? = nil
    ) {
        self.type = type
        self.provider = provider
        self.model = model
        self.inputPerMillion = inputPerMillion
        self.outputPerMillion = outputPerMillion
        self.cacheReadPerMillion = cacheReadPerMillion
        self.cacheWritePerMillion = cacheWritePerMillion
        self.cacheWrite1hPerMillion = cacheWrite1hPerMillion
        self.reasoningPerMillion = reasoningPerMillion
        self.webSearchNanoDollars = webSearchNanoDollars
        self.contextTokens = contextTokens
        self.maxOutputTokens = maxOutputTokens
        self.validFrom = validFrom
        self.validTo = validTo
        self.replace = replace
    }
}

/// The answer of `POST /api/v2/ai/models/import`, whose body is the file.
public struct PriceImportReport: Codable, Sendable, Equatable {
    public struct Line: Codable, Sendable, Equatable {
        public var type: String
        public var model: String
        /// `new`, `changed`, `same` or `refused`.
        public var outcome: String
        public var differences: [Difference]
        /// Why it was refused, or what was overlooked with `force`.
        public var findings: [String]

        public init(type: String, model: String, outcome: String, differences: [Difference], findings: [String]) {
            self.type = type
            self.model = model
            self.outcome = outcome
            self.differences = differences
            self.findings = findings
        }
    }

    /// One class of price, as the book's files name it, in millionths of a dollar per million tokens; absent: not priced.
    public struct Difference: Codable, Sendable, Equatable {
        public var name: String
        public var before: Int64?
        public var after: Int64?

        public init(name: String, before: Int64?, after: Int64?) {
            self.name = name
            self.before = before
            self.after = after
        }
    }

    public var lines: [Line]
    /// Models of providers of other types, and models without a price.
    public var skipped: Int
    public var dryRun: Bool

    public init(lines: [Line], skipped: Int, dryRun: Bool) {
        self.lines = lines
        self.skipped = skipped
        self.dryRun = dryRun
    }
}

/// `POST /api/v2/ai/models/rerate`.
public struct RerateRequest: Codable, Sendable, Equatable {
    public var from: Date
    public var to: Date
    public var model: String?
    /// Absent or false: only says what would be corrected.
    public var apply: Bool?

    public init(from: Date, to: Date, model: String? = nil, apply: Bool? = nil) {
        self.from = from
        self.to = to
        self.model = model
        self.apply = apply
    }
}

/// What re-rating corrected, or would.
public struct RerateReport: Codable, Sendable, Equatable {
    public struct Line: Codable, Sendable, Equatable {
        public var provider: String
        public var model: String
        public var calls: Int
        /// Those whose cost differs; the two sums are of these.
        public var differing: Int
        public var beforeNanoDollars: Int64
        public var afterNanoDollars: Int64
        /// Left as they are, since the book has no price for their time.
        public var unpriced: Int
        /// Left as they are, since their usage is not known.
        public var unknown: Int

        public init(
            provider: String, model: String, calls: Int, differing: Int, beforeNanoDollars: Int64, afterNanoDollars: Int64,
            unpriced: Int, unknown: Int
        ) {
            self.provider = provider
            self.model = model
            self.calls = calls
            self.differing = differing
            self.beforeNanoDollars = beforeNanoDollars
            self.afterNanoDollars = afterNanoDollars
            self.unpriced = unpriced
            self.unknown = unknown
        }
    }

    public var lines: [Line]
    public var amountNanoDollars: Int64
    public var applied: Bool

    public init(lines: [Line], amountNanoDollars: Int64, applied: Bool) {
        self.lines = lines
        self.amountNanoDollars = amountNanoDollars
        self.applied = applied
    }
}

/// The answer of `POST /api/v2/ai/invoices/reconcile`, whose body is the invoice.
public struct ReconcileReport: Codable, Sendable, Equatable {
    public struct Line: Codable, Sendable, Equatable {
        /// UTC.
        public var day: String
        public var model: String
        /// Absent: the invoice has only tokens.
        public var invoicedNanoDollars: Int64?
        public var bookedNanoDollars: Int64
        public var invoicedTokens: Int?
        public var bookedTokens: Int
        public var calls: Int
        /// Calls whose usage Slipway counted itself, or does not know.
        public var estimated: Int

        public init(
            day: String, model: String, invoicedNanoDollars: Int64?, bookedNanoDollars: Int64, invoicedTokens: Int?,
            bookedTokens: Int, calls: Int, estimated: Int
        ) {
            self.day = day
            self.model = model
            self.invoicedNanoDollars = invoicedNanoDollars
            self.bookedNanoDollars = bookedNanoDollars
            self.invoicedTokens = invoicedTokens
            self.bookedTokens = bookedTokens
            self.calls = calls
            self.estimated = estimated
        }
    }

    public var provider: String
    public var lines: [Line]
    public var invoicedNanoDollars: Int64
    public var bookedNanoDollars: Int64
    /// Rows of the invoice that name no model (totals, fees, taxes), and what they come to; they are in no line and no sum.
    public var rowsWithoutModel: Int?
    public var withoutModelNanoDollars: Int64?

    public init(
        provider: String, lines: [Line], invoicedNanoDollars: Int64, bookedNanoDollars: Int64, rowsWithoutModel: Int? = nil,
        withoutModelNanoDollars: Int64? = nil
    ) {
        self.rowsWithoutModel = rowsWithoutModel
        self.withoutModelNanoDollars = withoutModelNanoDollars
        self.provider = provider
        self.lines = lines
        self.invoicedNanoDollars = invoicedNanoDollars
        self.bookedNanoDollars = bookedNanoDollars
    }
}
