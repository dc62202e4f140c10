import API
import ArgumentParser
import Foundation

struct ProvidersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "providers", abstract: "The providers of models and their keys.",
        subcommands: [List.self, Add.self, Key.self, Set.self, Enable.self, Disable.self, Remove.self], defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All providers; keys are never shown.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: AIProviderList = try await connection.client().get(APIPaths.providers)
                try connection.show(list) { list in
                    var table = Table("name", "type", "address", "keys", "state")
                    for provider in list.providers {
                        table.add(
                            provider.name, provider.type + (provider.scripted ? " (scripted, no AI)" : ""), provider.baseURL,
                            provider.keyHints.joined(separator: " "), provider.enabled ? "enabled" : "disabled")
                    }
                    table.show(ifEmpty: "No providers. Add one: slipway providers add NAME --type anthropic")
                }
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a provider; its key is asked for, or read from standard input, and stored encrypted.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name: the part of the path after /api/v2/ai-gateway/.") var name: String
        @Option(help: "anthropic, openai (also for every server that speaks Chat Completions), azure, gemini or bedrock.") var type:
            String
        @Option(help: "Address, e.g. https://api.example.com/v1. Default: the provider's public one.") var baseURL: String?
        @Flag(help: "Read the key from standard input instead of asking.") var keyStdin = false
        @Flag(help: "The provider needs no key.") var noKey = false
        @Flag(help: "Allow a loopback or private address.") var allowPrivate = false

        func run() async throws {
            try await reporting {
                let key = noKey ? nil : try ProvidersCommand.readKey(of: name, fromInput: keyStdin)
                let provider: AIProvider = try await connection.client().post(
                    APIPaths.providers,
                    CreateAIProviderRequest(name: name, type: type, baseURL: baseURL, apiKey: key, allowPrivate: allowPrivate))
                try connection.show(provider) { print("Added \($0.name) (\($0.type)) at \($0.baseURL).") }
            }
        }
    }

    struct Key: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace a provider's key, or all of its keys.",
            discussion: "With several, a call takes the next one when a key is told to slow down or is refused.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the provider.") var name: String
        @Flag(help: "Read the key from standard input instead of asking; each line is a key, at most 5.") var keyStdin = false

        func run() async throws {
            try await ProvidersCommand.update(
                connection, name,
                UpdateAIProviderRequest(
                    apiKeys: keyStdin ? ProvidersCommand.readKeys() : [ProvidersCommand.readKey(of: name, fromInput: false)]))
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Time-outs, pings, and what becomes of calls whose client leaves.",
            discussion: "What is not named stays. With --model only for models that fit the pattern.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the provider.") var name: String
        @Option(help: "A pattern of model names, e.g. 'o3*'.") var model: String?
        @Option(help: "Seconds until the answer's head, 1 to 3600.") var firstByte: Int?
        @Option(help: "Seconds between two pieces of an answer, 1 to 3600.") var idle: Int?
        @Option(help: "Seconds for the whole call, 1 to 86400.") var total: Int?
        @Option(help: "Seconds of silence after which a stream's client gets a ping; 0: never.") var ping: Int?
        @Option(help: "Seconds for which a stream is read on when its client has left; 0: aborted.") var drain: Int?
        @Option(
            name: .customLong("protocol"),
            help: "chat_completions or responses, where a server has only one of them; may be given twice.")
        var protocols: [String] = []
        @Option(help: "Bedrock: the region to sign for, where the address does not name it.") var region: String?
        @Option(help: "on or off: whether the provider is told in which trace it is called (default off).") var traceContext:
            Switch?

        func validate() throws {
            guard changed(AICallSettings()) != AICallSettings() else {
                throw ValidationError("Nothing is to be changed: give at least one option besides --model, e.g. --total 600.")
            }
        }

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let list: AIProviderList = try await client.get(APIPaths.providers)
                guard let provider = list.providers.first(where: { $0.name == name }) else {
                    throw Failure(.notFound, "There is no provider named '\(name)'.", hint: "'slipway providers list' shows them.")
                }
                var settings = provider.settings
                if let model {
                    var models = settings.models ?? [:]
                    models[model] = changed(models[model] ?? AICallSettings())
                    settings.models = models
                } else {
                    settings = changed(settings)
                }
                let updated: AIProvider = try await client.patch(
                    "\(APIPaths.providers)/\(APIClient.escape(name))", UpdateAIProviderRequest(settings: settings))
                try connection.show(updated) { print("\($0.name): changed") }
            }
        }

        private func changed(_ settings: AICallSettings) -> AICallSettings {
            AICallSettings(
                firstByteSeconds: firstByte ?? settings.firstByteSeconds, idleSeconds: idle ?? settings.idleSeconds,
                totalSeconds: total ?? settings.totalSeconds, pingSeconds: ping ?? settings.pingSeconds,
                drainSeconds: drain ?? settings.drainSeconds, protocols: protocols.isEmpty ? settings.protocols : protocols,
                region: region ?? settings.region, traceContext: traceContext.map { $0 == .on } ?? settings.traceContext,
                models: settings.models)
        }
    }

    enum Switch: String, ExpressibleByArgument, CaseIterable { case on, off }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let calls pass to a provider.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the provider.") var name: String
        func run() async throws { try await ProvidersCommand.update(connection, name, UpdateAIProviderRequest(enabled: true)) }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Refuse calls to a provider.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the provider.") var name: String
        func run() async throws { try await ProvidersCommand.update(connection, name, UpdateAIProviderRequest(enabled: false)) }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a provider and its keys; what was recorded stays.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the provider.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.providers)/\(APIClient.escape(name))")
                try connection.done("Removed \(name).")
            }
        }
    }

    private static func update(
        _ connection: Connection, _ name: String, _ request: @autoclosure () throws -> UpdateAIProviderRequest
    ) async throws {
        try await reporting {
            let provider: AIProvider = try await connection.client().patch(
                "\(APIPaths.providers)/\(APIClient.escape(name))", try request())
            try connection.show(provider) { print("\($0.name): \($0.enabled ? "enabled" : "disabled")") }
        }
    }

    private static func readKeys() throws -> [String] {
        var keys: [String] = []
        while let line = readLine(strippingNewline: true) { if !line.isEmpty { keys.append(line) } }
        guard !keys.isEmpty else { throw Failure(.usage, "No key was given: standard input is empty.") }
        return keys
    }

    private static func readKey(of name: String, fromInput: Bool) throws -> String {
        let key = fromInput ? readLine(strippingNewline: true) : Terminal.askSecret("Key of \(name): ")
        guard let key, !key.isEmpty else {
            throw Failure(
                .usage, "No key was given.", hint: "Without a terminal, use --key-stdin; for a provider without one, --no-key.")
        }
        return key
    }
}
