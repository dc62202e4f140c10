import API
import ArgumentParser
import Core
import Foundation

struct BudgetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "budget", abstract: "What a user may spend on model calls in a calendar month (UTC).",
        subcommands: [Show.self, Set.self, Clear.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "This month's budget, yours unless told.")
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
        static let configuration = CommandConfiguration(abstract: "Set the cap, in dollars a month; 0 stops all calls.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var user: String
        @Argument(help: "Dollars a month, e.g. 25 or 12.50.") var dollars: String

        func run() async throws {
            try await reporting {
                guard let cap = NanoDollars(dollars: dollars) else {
                    throw Failure(.usage, "'\(dollars)' is no amount of dollars.", hint: "Write 25 or 12.50.")
                }
                let budget: AIBudget = try await connection.client().put(
                    BudgetCommand.path(user), SetAIBudgetRequest(capNanoDollars: cap.value))
                try connection.show(budget, text: BudgetCommand.show)
            }
        }
    }

    struct Clear: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove the cap.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var user: String

        func run() async throws {
            try await reporting {
                let budget: AIBudget = try await connection.client().put(BudgetCommand.path(user), SetAIBudgetRequest())
                try connection.show(budget, text: BudgetCommand.show)
            }
        }
    }

    static func path(_ user: String) -> String { "\(APIPaths.users)/\(APIClient.escape(user))/ai/budget" }

    static func show(_ budget: AIBudget) {
        let cap = budget.capNanoDollars.map { "of \(Text.money($0))" } ?? "(no cap)"
        let held = budget.heldNanoDollars > 0 ? ", \(Text.money(budget.heldNanoDollars)) held by calls under way" : ""
        print("\(budget.username), \(budget.period): \(Text.money(budget.spentNanoDollars)) spent \(cap)\(held)")
    }
}
