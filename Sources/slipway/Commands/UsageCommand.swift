import API
import ArgumentParser
import Foundation

struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What model calls cost in a month, by user and model.",
        discussion: """
            With --by, --from, --to or --format: of any days, by any of user, group, provider, model, client, task and day.
            """,
        subcommands: [Session.self, Reconcile.self])
    @OptionGroup var connection: Connection
    @Option(help: "Month, e.g. 2026-11. Default: this one (UTC).") var month: String?
    @Flag(help: "Everybody's, for admins and auditors.") var all = false
    @Option(help: "By what, with commas: user, group, provider, model, client, task, day.") var by: String?
    @Option(help: "The first day (UTC), e.g. 2026-11-01. Default: of this month.") var from: String?
    @Option(help: "The first day that is not meant.") var to: String?
    @Option(help: "'csv', or 'focus' for CSV in the columns of FOCUS 1.0.") var format: String?

    func validate() throws {
        guard format == nil || connection.output == .text else {
            throw ValidationError("--format writes a file that is no JSON: leave out either --format or --output json.")
        }
    }

    func run() async throws {
        if by != nil || from != nil || to != nil || format != nil { return try await spend() }
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

    private func spend() async throws {
        try await reporting {
            let client = try connection.client()
            let query = [("by", by), ("from", from), ("to", to), ("format", format), ("user", all ? "all" : "me")]
            if format != nil {
                return try await client.download(APIPaths.spend, query: query) {
                    try FileHandle.standardOutput.write(contentsOf: $0)
                }
            }
            let report: SpendReport = try await client.get(APIPaths.spend, query: query)
            try connection.show(report) { report in
                var table = Table(report.by + ["#calls", "#input", "#cached", "#output", "#cost"])
                for row in report.rows {
                    table.add(
                        row: report.by.map { row.name($0) ?? "-" } + [
                            "\(row.calls)", "\(row.usage.inputTokens + row.usage.cacheWriteInputTokens)",
                            "\(row.usage.cacheReadInputTokens)", "\(row.usage.outputTokens)", Text.money(row.costNanoDollars),
                        ])
                }
                table.show(ifEmpty: "No model calls since \(report.from).")
                print("\n\(Text.money(report.costNanoDollars)) since \(report.from)\(report.to.map { ", before " + $0 } ?? "")")
            }
        }
    }
}

extension SpendRow {
    fileprivate func name(_ dimension: String) -> String? {
        switch dimension {
        case "user": username
        case "group": group
        case "provider": provider
        case "model": model
        case "client": client
        case "task": taskID
        case "day": day
        default: nil
        }
    }
}
