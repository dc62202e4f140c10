import API
import ArgumentParser
import Core
import Foundation

struct BudgetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "budget", abstract: "What may be spent on model calls, by whom and in which time (UTC).",
        discussion: """
            A subject is a user's name, user:NAME, group:NAME, organization, task:NAME or token:ID. Budgets are per calendar month unless \
            --period says day, week (from Monday) or total.
            """,
        subcommands: [Show.self, Set.self, Clear.self, List.self, Alerts.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "A user's budget of this month, yours unless told.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var user: String = "me"

        func run() async throws {
            try await reporting {
                let budget: AIBudget = try await connection.client().get(BudgetCommand.path(user))
                try connection.show(budget, text: BudgetCommand.show)
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set a budget, in dollars; 0 stops all calls.")
        @OptionGroup var connection: Connection
        @Argument(help: "Whose: a user's name, group:NAME, organization, task:NAME or token:ID.") var subject: String
        @Argument(help: "Dollars, e.g. 25 or 12.50.") var dollars: String
        @Option(help: "day, week, month or total.") var period = "month"
        @Flag(help: "Warn and refuse nothing.") var soft = false

        func run() async throws {
            try await reporting {
                guard let cap = NanoDollars(dollars: dollars) else {
                    throw Failure(.usage, "'\(dollars)' is no amount of dollars.", hint: "Write 25 or 12.50.")
                }
                let client = try connection.client()
                if BudgetCommand.isUser(subject), period == "month", !soft {
                    let budget: AIBudget = try await client.put(
                        BudgetCommand.path(subject), SetAIBudgetRequest(capNanoDollars: cap.value))
                    return try connection.show(budget, text: BudgetCommand.show)
                }
                let budget: AISubjectBudget = try await client.put(
                    BudgetCommand.path(subject, period), SetAISubjectBudgetRequest(capNanoDollars: cap.value, hard: !soft))
                try connection.show(budget) { print(BudgetCommand.line($0)) }
            }
        }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a budget.")
        @OptionGroup var connection: Connection
        @Argument(help: "Whose, as in 'set'.") var subject: String
        @Option(help: "day, week, month or total.") var period = "month"

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                if BudgetCommand.isUser(subject), period == "month" {
                    let budget: AIBudget = try await client.put(BudgetCommand.path(subject), SetAIBudgetRequest())
                    return try connection.show(budget, text: BudgetCommand.show)
                }
                try await client.send("DELETE", BudgetCommand.path(subject, period))
                try connection.done("Removed the budget of \(subject) (\(period)).")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All budgets that you may see, with what is spent of them now.")
        @OptionGroup var connection: Connection
        @Option(help: "At most so many.") var limit = 100

        func run() async throws {
            try await reporting {
                let list: AISubjectBudgetList = try await connection.client().get(APIPaths.budgets, query: [("limit", "\(limit)")])
                try connection.show(list) { list in
                    var table = Table("subject", "period", "from", "#cap", "#spent", "#held", "kind")
                    for budget in list.budgets {
                        table.add(
                            budget.subject, budget.period, budget.start, Text.money(budget.capNanoDollars),
                            Text.money(budget.spentNanoDollars), Text.money(budget.heldNanoDollars),
                            budget.hard ? "hard" : "soft")
                    }
                    table.show(ifEmpty: "No budgets: slipway budget set NAME 25")
                }
            }
        }
    }

    struct Alerts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Budgets that reached 50, 85 or 100 % of their caps, the newest first.")
        @OptionGroup var connection: Connection
        @Option(help: "At most so many.") var limit = 50

        func run() async throws {
            try await reporting {
                let list: AIBudgetAlertList = try await connection.client().get(
                    APIPaths.budgets + "/alerts", query: [("limit", "\(limit)")])
                try connection.show(list) { list in
                    var table = Table("at", "subject", "period", "from", "#reached", "#cap", "#spent", "#held")
                    for alert in list.alerts {
                        table.add(
                            Text.time(alert.at), alert.subject, alert.period, alert.start, "\(alert.threshold) %",
                            Text.money(alert.capNanoDollars), Text.money(alert.spentNanoDollars),
                            Text.money(alert.heldNanoDollars))
                    }
                    table.show(ifEmpty: "No budget has reached 50 % of its cap.")
                }
            }
        }
    }

    /// A name alone is a user's.
    static func isUser(_ subject: String) -> Bool { !subject.contains(":") && subject != "organization" }

    static func path(_ user: String) -> String { "\(APIPaths.users)/\(APIClient.escape(user))/ai/budget" }

    static func path(_ subject: String, _ period: String) -> String {
        "\(APIPaths.budgets)/\(APIClient.escape(isUser(subject) ? "user:\(subject)" : subject))/\(APIClient.escape(period))"
    }

    static func show(_ budget: AIBudget) {
        let cap = budget.capNanoDollars.map { "of \(Text.money($0))" } ?? "(no cap)"
        print(
            "\(budget.username), \(budget.period): \(Text.money(budget.spentNanoDollars)) spent \(cap)\(held(budget.heldNanoDollars))"
        )
    }

    static func line(_ budget: AISubjectBudget) -> String {
        let time = budget.period == "total" ? "all time" : "\(budget.period) from \(budget.start)"
        let kind = budget.hard ? "" : " (soft)"
        return
            "\(budget.subject), \(time): \(Text.money(budget.spentNanoDollars)) spent of \(Text.money(budget.capNanoDollars))\(kind)"
            + held(budget.heldNanoDollars)
    }

    private static func held(_ amount: Int64) -> String {
        amount > 0 ? ", \(Text.money(amount)) held by calls under way" : ""
    }
}
