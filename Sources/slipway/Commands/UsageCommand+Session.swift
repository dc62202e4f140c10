import API
import ArgumentParser
import Foundation

extension UsageCommand {
    struct Session: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What a session of a coding client cost: its threads, and the agents that worked for each.")
        @OptionGroup var connection: Connection
        @Argument(help: "The session's id, as 'slipway audit' and the pages show it.") var session: String

        func run() async throws {
            try await reporting {
                let tree: AISessionTree = try await connection.client().get(
                    "\(APIPaths.sessions)/\(APIClient.escape(session))/tree")
                try connection.show(tree, text: Self.show)
            }
        }

        private static func show(_ tree: AISessionTree) {
            var table = Table("what", "#calls", "#input", "#cached", "#output", "#own", "#total")
            for thread in tree.threads {
                table.add(
                    row: row(
                        thread.prompt.map { Text.line($0) } ?? thread.requestClass ?? thread.id, thread.interceptions, thread.usage,
                        thread.costNanoDollars, thread.totalCostNanoDollars))
                add(thread.agents, 1, to: &table)
            }
            table.show(ifEmpty: "No model calls.")
            print("\n\(Text.money(tree.costNanoDollars)) in \(tree.interceptions) call\(tree.interceptions == 1 ? "" : "s")")
        }

        private static func add(_ agents: [AISessionTree.Agent], _ depth: Int, to table: inout Table) {
            for agent in agents {
                let name = [agent.agentType, Text.line(agent.id, limit: 24)].compactMap { $0 }.joined(separator: " ")
                table.add(
                    row: row(
                        String(repeating: "  ", count: depth) + name, agent.interceptions, agent.usage, agent.costNanoDollars,
                        agent.totalCostNanoDollars))
                add(agent.agents, depth + 1, to: &table)
            }
        }

        private static func row(_ name: String, _ calls: Int, _ usage: TokenUsage, _ own: Int64, _ total: Int64) -> [String] {
            [
                name, "\(calls)", "\(usage.inputTokens + usage.cacheWriteInputTokens)", "\(usage.cacheReadInputTokens)",
                "\(usage.outputTokens)", Text.money(own), Text.money(total),
            ]
        }
    }
}
