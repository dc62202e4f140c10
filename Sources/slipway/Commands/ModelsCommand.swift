import API
import ArgumentParser
import Core
import Foundation

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Models, their prices, and who may use them.",
        subcommands: [List.self, Price.self, Policies.self, Allow.self, RemovePolicy.self], defaultSubcommand: List.self)

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

    struct Price: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the price of a model from now on, in dollars per million tokens. A model without one cannot be called.")
        @OptionGroup var connection: Connection
        @Argument(help: "Model id as the provider writes it.") var model: String
        @Option(help: "anthropic, openai, azure, gemini or bedrock.") var type: String
        @Option(name: .customLong("input-price"), help: "Input tokens.") var inputPrice: String
        @Option(name: .customLong("output-price"), help: "Output tokens.") var outputPrice: String
        @Option(help: "Cached input tokens; default: as input.") var cacheRead: String?
        @Option(help: "Input tokens written to the cache; default: as input.") var cacheWrite: String?

        func run() async throws {
            try await reporting {
                try await connection.client().send(
                    "POST", APIPaths.models,
                    SetModelPriceRequest(
                        type: type, model: model, inputPerMillion: try micro(inputPrice, "--input-price"),
                        outputPerMillion: try micro(outputPrice, "--output-price"),
                        cacheReadPerMillion: try cacheRead.map { try micro($0, "--cache-read") },
                        cacheWritePerMillion: try cacheWrite.map { try micro($0, "--cache-write") }))
                try connection.done("\(model): priced.")
            }
        }

        private func micro(_ dollars: String, _ option: String) throws -> Int64 {
            guard let value = NanoDollars(dollars: dollars), value.value.isMultiple(of: 1000) else {
                throw Failure(.usage, "\(option) is '\(dollars)'; it must be dollars with at most six decimals, e.g. 3 or 0.30.")
            }
            return value.value / 1000
        }
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
