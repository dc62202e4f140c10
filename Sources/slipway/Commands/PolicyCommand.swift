import API
import ArgumentParser
import Foundation

struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Policies as code: who may use what, and when.",
        subcommands: [
            List.self, Show.self, Put.self, Delete.self, Versions.self, Test.self, Explain.self, Simulate.self,
        ], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The policies in force, in the order in which they are asked.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: PolicyList = try await connection.client().get(APIPaths.policies)
                try connection.show(list) { list in
                    var table = Table("policy", "#order", "#rules", "default", "#version", "origin", "description")
                    for policy in list.policies {
                        table.add(
                            policy.name, "\(policy.order ?? 0)", "\(policy.rules ?? 0)", policy.defaultEffect ?? "",
                            policy.version == 0 ? "-" : "\(policy.version)", policy.origin.replacing("_", with: " "),
                            policy.description ?? "")
                    }
                    table.show(ifEmpty: "No policies.")
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The text of a policy.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the policy.") var name: String
        // `--version` is every command's own.
        @Option(help: "An older version; default: the one in force.") var atVersion: Int?

        func run() async throws {
            try await reporting {
                let path = PolicyCommand.path(name) + (atVersion.map { "/versions/\($0)" } ?? "")
                let policy: Policy = try await connection.client().get(path)
                try connection.show(policy) { policy in
                    guard let source = policy.source else {
                        return print("# \(policy.name) was deleted with version \(policy.version).")
                    }
                    print(Terminal.plain(source), terminator: source.hasSuffix("\n") ? "" : "\n")
                }
            }
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Put a policy in force: a new version of the one of its name.")
        @OptionGroup var connection: Connection
        @Argument(help: "YAML file; - for standard input.") var file: String
        @Option(help: "The version that you changed; if another one is in force meanwhile, nothing is done.") var baseVersion: Int?

        func run() async throws {
            try await reporting {
                let file = try PolicyFile(self.file)
                let name = try file.read().name
                let policy: Policy = try await connection.client().put(
                    PolicyCommand.path(name), PutPolicyRequest(source: file.text, baseVersion: baseVersion))
                try connection.show(policy) { print("\($0.name): version \($0.version) is in force.") }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take a policy out of force; its versions stay readable.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the policy.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", PolicyCommand.path(name))
                try connection.done("Deleted \(name).")
            }
        }
    }

    struct Versions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Every version of a policy, newest first.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the policy.") var name: String

        func run() async throws {
            try await reporting {
                let list: PolicyList = try await connection.client().get(PolicyCommand.path(name) + "/versions")
                try connection.show(list) { list in
                    var table = Table("#version", "at", "by", "origin", "what")
                    for policy in list.policies {
                        table.add(
                            "\(policy.version)", Text.time(policy.createdAt), policy.actor ?? "the server", policy.origin,
                            policy.isDeleted == true ? "deleted" : "put")
                    }
                    table.show(ifEmpty: "No versions.")
                }
            }
        }
    }

    static func path(_ name: String) -> String { "\(APIPaths.policies)/\(APIClient.escape(name))" }
}
