import API
import ArgumentParser
import Core
import Foundation

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Models, their prices, and who may use them.",
        subcommands: [
            List.self, Price.self, Import.self, Rerate.self, Policies.self, Allow.self, RemovePolicy.self,
        ], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The models you may call, with prices per million tokens.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: AIModelList = try await connection.client().get(APIPaths.models)
                try connection.show(list) { list in
                    var table = Table("provider", "model", "#input", "#cache read", "#cache write", "#output", "source")
                    for model in list.models {
                        table.add(
                            model.provider, model.model, price(model.inputPerMillion), price(model.cacheReadPerMillion),
                            price(model.cacheWritePerMillion), price(model.outputPerMillion), model.source)
                    }
                    table.show(ifEmpty: "No models. Add a provider first: slipway providers add NAME --type anthropic")
                }
            }
        }

        private func price(_ microDollars: Int64) -> String { NanoDollars(microDollars * 1000).description }
    }

    struct Policies: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Who may use which models.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: ModelPolicyList = try await connection.client().get(APIPaths.modelPolicies)
                try connection.show(list) { list in
                    var table = Table("name", "models", "roles", "users")
                    for policy in list.policies {
                        table.add(
                            policy.name, policy.models.joined(separator: " "), policy.roles.joined(separator: " "),
                            policy.userIDs.joined(separator: " "))
                    }
                    table.show(ifEmpty: "No policy: everybody may use every model of an enabled provider.")
                }
            }
        }
    }

    struct Allow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a policy. As soon as there is one, what no policy allows is denied.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the policy; denials and records say it.") var name: String
        @Option(help: "provider/model, where * stands for any characters; may be given more than once.") var model: [String]
        @Option(help: "A role that may use them; may be given more than once.") var role: [String] = []
        @Option(help: "A user who may use them; may be given more than once.") var user: [String] = []

        func run() async throws {
            try await reporting {
                let policy: ModelPolicy = try await connection.client().post(
                    APIPaths.modelPolicies, CreateModelPolicyRequest(name: name, models: model, roles: role, users: user))
                try connection.show(policy) { print("\($0.name): \($0.models.joined(separator: " "))") }
            }
        }
    }

    struct RemovePolicy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "remove-policy", abstract: "Remove a policy.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the policy.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.modelPolicies)/\(APIClient.escape(name))")
                try connection.done("Removed \(name).")
            }
        }
    }
}
