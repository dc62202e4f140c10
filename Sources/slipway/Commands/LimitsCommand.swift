import API
import ArgumentParser
import Foundation

struct LimitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits", abstract: "How fast models may be called: requests and tokens a minute, calls at a time.",
        subcommands: [Show.self, Set.self, Delete.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All limits, or one.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of a limit.") var name: String?

        func run() async throws {
            try await reporting {
                var list: AIRateLimitList = try await connection.client().get(APIPaths.limits)
                if let name {
                    list.limits.removeAll { $0.name != name }
                    guard !list.limits.isEmpty else { throw Failure(.notFound, "There is no limit named '\(name)'.") }
                }
                try connection.show(list, text: LimitsCommand.show)
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Set a limit, or replace the one of this name. It is for all calls that match; without --per-user they share it.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the limit; refusals say it.") var name: String
        @Option(help: "Only calls of this user.") var user: String?
        @Option(help: "Only calls of this provider.") var provider: String?
        @Option(help: "Only calls of models that match; * stands for any characters.") var model: String?
        @Flag(help: "Each user has the whole of it.") var perUser = false
        @Option(help: "Requests a minute.") var requests: Int64?
        @Option(help: "Tokens a minute, input and output together.") var tokens: Int64?
        @Option(help: "Calls at a time; more wait up to 10 seconds for a place.") var concurrency: Int64?

        func run() async throws {
            try await reporting {
                let limit: AIRateLimit = try await connection.client().put(
                    "\(APIPaths.limits)/\(APIClient.escape(name))",
                    SetAIRateLimitRequest(
                        user: user, provider: provider, model: model, perUser: perUser, requestsPerMinute: requests,
                        tokensPerMinute: tokens, concurrency: concurrency))
                try connection.show(limit) { LimitsCommand.show(AIRateLimitList(limits: [$0])) }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a limit.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the limit.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.limits)/\(APIClient.escape(name))")
                try connection.done("Removed \(name).")
            }
        }
    }

    static func show(_ list: AIRateLimitList) {
        func number(_ value: Int64?) -> String { value.map { "\($0)" } ?? "-" }
        var table = Table("name", "user", "provider", "model", "#requests/min", "#tokens/min", "#at a time", "#now")
        for limit in list.limits {
            table.add(
                limit.name, limit.user ?? (limit.perUser ? "each" : "all"), limit.provider ?? "any", limit.model ?? "any",
                number(limit.requestsPerMinute), number(limit.tokensPerMinute), number(limit.concurrency), "\(limit.open)")
        }
        table.show(ifEmpty: "No limits: slipway limits set NAME --requests 60")
    }
}
