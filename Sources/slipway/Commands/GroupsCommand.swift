import API
import ArgumentParser

struct GroupsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "groups", abstract: "Groups of users, which policies and budgets name.",
        subcommands: [List.self, Create.self, Delete.self, Add.self, Remove.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All groups with their members.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: GroupList = try await connection.client().get(APIPaths.groups)
                try connection.show(list) { list in
                    var table = Table("group", "members")
                    for group in list.groups { table.add(group.name, group.members.joined(separator: " ")) }
                    table.show(ifEmpty: "No groups. Make one: slipway groups create NAME")
                }
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the group.") var name: String

        func run() async throws {
            try await reporting {
                let group: Group = try await connection.client().post(APIPaths.groups, CreateGroupRequest(name: name))
                try connection.show(group) { print("Made the group \($0.name).") }
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a group; its members stay.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the group.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.groups)/\(APIClient.escape(name))")
                try connection.done("Deleted the group \(name).")
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add users to a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the group.") var name: String
        @Argument(help: "User names.") var users: [String]
        func run() async throws { try await change(connection, "PUT", name, users) }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove users from a group.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the group.") var name: String
        @Argument(help: "User names.") var users: [String]
        func run() async throws { try await change(connection, "DELETE", name, users) }
    }

    private static func change(_ connection: Connection, _ method: String, _ name: String, _ users: [String]) async throws {
        try await reporting {
            let client = try connection.client()
            let path = "\(APIPaths.groups)/\(APIClient.escape(name))"
            for user in users { try await client.send(method, "\(path)/members/\(APIClient.escape(user))") }
            let group: Group = try await client.get(path)
            try connection.show(group) { print("\($0.name): \($0.members.isEmpty ? "nobody" : $0.members.joined(separator: " "))") }
        }
    }
}
