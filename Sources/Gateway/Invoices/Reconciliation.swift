import Core
import Foundation

/// An invoice beside the ledger, by day and model. A pure comparison.
package struct Reconciliation: Sendable, Equatable {
    package struct Line: Sendable, Equatable {
        package var day: String
        package var model: String
        /// Nil: the invoice has only tokens.
        package var invoiced: NanoDollars?
        package var booked = NanoDollars.zero
        package var invoicedTokens: Int?
        package var bookedTokens = 0
        package var calls = 0
        /// Of these the usage was counted by Slipway, or is not known: where drift may come from.
        package var estimated = 0

        package var drift: NanoDollars? { invoiced.map { $0 - booked } }
    }

    /// What the ledger has of a day and model, corrections included.
    struct Booked: Sendable, Equatable {
        var day: String
        var model: String
        var cost: NanoDollars
        var tokens: Int
        var calls: Int
        var estimated: Int
    }

    package var provider: String
    package var lines: [Line]
    /// Rows of the invoice without a model (totals, fees, taxes), and what they come to: they are compared with nothing.
    package var withoutModel: (rows: Int, cost: NanoDollars) { (rest.rows, rest.cost) }
    private var rest: InvoiceFile.Rest

    package var invoiced: NanoDollars { lines.reduce(.zero) { $0 + ($1.invoiced ?? .zero) } }
    package var booked: NanoDollars { lines.reduce(.zero) { $0 + $1.booked } }

    init(provider: String, _ invoice: InvoiceFile, _ booked: [Booked]) {
        self.provider = provider
        rest = invoice.rest
        var found: [String: Line] = [:]
        func line(_ day: String, _ model: String) -> (key: String, line: Line) {
            let model = Self.plain(model)
            let key = "\(day) \(model)"
            return (key, found[key] ?? Line(day: day, model: model, invoiced: invoice.hasCost ? .zero : nil))
        }
        for row in invoice.rows {
            var (key, line) = line(row.day, row.model)
            if let cost = row.cost { line.invoiced = (line.invoiced ?? .zero) + cost }
            if row.inputTokens != nil || row.outputTokens != nil {
                line.invoicedTokens = (line.invoicedTokens ?? 0) + (row.inputTokens ?? 0) + (row.outputTokens ?? 0)
            }
            found[key] = line
        }
        for row in booked {
            var (key, line) = line(row.day, row.model)
            line.booked = line.booked + row.cost
            line.bookedTokens += row.tokens
            line.calls += row.calls
            line.estimated += row.estimated
            found[key] = line
        }
        lines = found.values.sorted { ($0.day, $0.model) < ($1.day, $1.model) }
    }

    /// Invoices and requests name a model differently: `Claude Sonnet 4.5`, `claude-sonnet-4-5-20250929`, `gpt-4o-2024-08-06, input`.
    static func plain(_ model: String) -> String {
        let name = model.lowercased().prefix { $0 != "," }.trimmingCharacters(in: .whitespaces)
            .replacing(/[ .]+/, with: "-")
        return String(name.replacing(/-(20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2}|latest)$/, with: ""))
    }
}
