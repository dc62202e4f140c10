import API
import ArgumentParser
import Core
import Foundation

extension UsageCommand {
    struct Reconcile: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare a provider's invoice (CSV) with the ledger, by day and model. Writes nothing.")
        @OptionGroup var connection: Connection
        @Argument(help: "The invoice: a column for the day, one for the model, and costs or tokens.", completion: .file())
        var file: String
        @Option(help: "Name of the provider whose invoice it is.") var provider: String

        func run() async throws {
            try await reporting {
                let report: ReconcileReport = try await connection.client().send(
                    file: file, to: APIPaths.reconcile, query: [("provider", provider)])
                try connection.show(report, text: Self.show)
            }
        }

        private static func show(_ report: ReconcileReport) {
            var table = Table(
                "day", "model", "#calls", "#invoice", "#ledger", "#drift", "#%", "#invoice tokens", "#ledger tokens", "#estimated")
            for line in report.lines {
                let drift = line.invoicedNanoDollars.map { $0 - line.bookedNanoDollars }
                table.add(
                    line.day, line.model, "\(line.calls)", Text.money(line.invoicedNanoDollars), Text.money(line.bookedNanoDollars),
                    Text.money(drift), percent(drift, of: line.bookedNanoDollars), line.invoicedTokens.map(String.init) ?? "-",
                    "\(line.bookedTokens)", "\(line.estimated)")
            }
            table.show(ifEmpty: "The invoice has no rows.")
            if let rows = report.rowsWithoutModel, rows > 0 {
                print(
                    "\n\(counted(rows, "row")) without a model, \(Text.money(report.withoutModelNanoDollars)) in all, compared with nothing: totals, fees or taxes."
                )
            }
            let drift = report.invoicedNanoDollars - report.bookedNanoDollars
            guard report.lines.contains(where: { $0.invoicedNanoDollars != nil }) else {
                return print("\nThe invoice has no costs, only tokens.")
            }
            print(
                "\nInvoice \(Text.money(report.invoicedNanoDollars)), ledger \(Text.money(report.bookedNanoDollars)), drift \(Text.money(drift))."
            )
        }

        private static func percent(_ drift: Int64?, of booked: Int64) -> String {
            guard let drift, booked != 0 else { return "-" }
            return (Double(drift) / Double(booked) * 100).formatted(
                .number.precision(.fractionLength(1)).locale(Locale(identifier: "en_US_POSIX")))
        }
    }
}
