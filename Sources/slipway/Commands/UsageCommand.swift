import API
import ArgumentParser
import Foundation

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What model calls cost in a month, by user and model.",
        subcommands: [Reconcile.self])
    @OptionGroup var connection: Connection
    @Option(help: "Month, e.g. 2026-11. Default: this one (UTC).") var month: String?
    @Flag(help: "Everybody's, for admins and auditors.") var all = false

    func run() async throws {
        try await reporting {
            let report: UsageReport = try await connection.client().get(
                APIPaths.usage, query: [("period", month), ("user", all ? "all" : "me")])
            try connection.show(report) { report in
                var table = Table("user", "provider", "model", "#calls", "#input", "#cached", "#output", "#cost")
                for row in report.rows {
                    table.add(
                        row.username, row.provider, row.model, "\(row.calls)",
                        "\(row.usage.inputTokens + row.usage.cacheWriteInputTokens)", "\(row.usage.cacheReadInputTokens)",
                        "\(row.usage.outputTokens)", Text.money(row.costNanoDollars))
                }
                table.show(ifEmpty: "No model calls in \(report.period).")
                print("\n\(report.period): \(Text.money(report.costNanoDollars))")
                if let budget = report.budget { BudgetCommand.show(budget) }
            }
        }
    }
}
