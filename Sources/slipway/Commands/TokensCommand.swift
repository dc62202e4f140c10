import API
import ArgumentParser
import Foundation

struct TokensCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokens", abstract: "List, make and revoke API tokens.",
        subcommands: [List.self, Create.self, Revoke.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Your tokens; admins see everybody's.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: TokenList = try await connection.client().get(APIPaths.tokens, query: [("limit", "1000")])
                try connection.show(list) { list in
                    var table = Table("id", "user", "name", "scope", "token", "expires", "state")
                    for token in list.tokens {
                        table.add(
                            token.id, token.username, token.name, token.scope, token.hint, Text.time(token.expiresAt),
                            token.revokedAt == nil ? "active" : "revoked")
                    }
                    table.show(ifEmpty: "No tokens.")
                }
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a token; it is shown once.")
        @OptionGroup var connection: Connection
        @Option(help: "What it is for.") var name: String
        @Option(help: "all, gateway (model calls only) or read.") var scope: String = "gateway"
        @Option(help: "Days until it expires, 1 to 366.") var days: Int = 90

        func validate() throws {
            guard (1...366).contains(days) else { throw ValidationError("--days is \(days); a token lives 1 to 366 days.") }
        }

        func run() async throws {
            try await reporting {
                let made: CreateTokenResponse = try await connection.client().post(
                    APIPaths.tokens, CreateTokenRequest(name: name, scope: scope, lifetimeSeconds: days * 86_400))
                try connection.show(made) { print($0.key) }
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a token: every server refuses it within 2 seconds.")
        @OptionGroup var connection: Connection
        @Argument(help: "The token's id (from 'slipway tokens list').") var id: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.tokens)/\(APIClient.escape(id))")
                try connection.done("Revoked.")
            }
        }
    }
}
