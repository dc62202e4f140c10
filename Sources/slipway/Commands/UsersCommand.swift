import API
import ArgumentParser
import Foundation

struct UsersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "users", abstract: "List and change users.",
        subcommands: [List.self, Create.self, Roles.self, Suspend.self, Activate.self, Me.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Everybody in the organization.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: UserList = try await connection.client().get(APIPaths.users, query: [("limit", "1000")])
                try connection.show(list) { list in
                    var table = Table("user", "roles", "status", "e-mail", "last seen")
                    for user in list.users {
                        table.add(
                            user.username, user.roles.joined(separator: ","), user.status, user.email ?? "-",
                            Text.time(user.lastSeenAt))
                    }
                    table.show(ifEmpty: "No users.")
                }
            }
        }
    }

    struct Me: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Who you are signed in as.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let user: User = try await connection.client().get(APIPaths.me)
                try connection.show(user) { print("\($0.username) (\($0.roles.joined(separator: ", ")))") }
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a user; the password is asked for.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var username: String
        @Option(help: "owner, admin, auditor or member; may be given more than once.") var role: [String] = ["member"]
        @Option(help: "E-mail address.") var email: String?
        @Flag(help: "Read the password from standard input instead of asking.") var passwordStdin = false

        func run() async throws {
            try await reporting {
                let password = passwordStdin ? readLine(strippingNewline: true) : Terminal.askSecret("Password of \(username): ")
                guard let password, !password.isEmpty else {
                    throw Failure(.usage, "No password was given.", hint: "Without a terminal, use --password-stdin.")
                }
                let user: User = try await connection.client().post(
                    APIPaths.users, CreateUserRequest(username: username, email: email, password: password, roles: role))
                try connection.show(user) { print("Made \($0.username) (\($0.roles.joined(separator: ", "))).") }
            }
        }
    }

    struct Roles: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Replace somebody's roles.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var username: String
        @Argument(help: "owner, admin, auditor, member.") var roles: [String]

        func run() async throws {
            try await reporting {
                let user: User = try await connection.client().put(
                    "\(APIPaths.users)/\(APIClient.escape(username))/roles", ChangeRolesRequest(roles: roles))
                try connection.show(user) { print("\($0.username): \($0.roles.joined(separator: ", "))") }
            }
        }
    }

    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End somebody's sessions and tokens at once; nothing is removed.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var username: String
        func run() async throws { try await change(connection, username, to: "suspend") }
    }

    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a suspended user in again.")
        @OptionGroup var connection: Connection
        @Argument(help: "User name.") var username: String
        func run() async throws { try await change(connection, username, to: "activate") }
    }

    private static func change(_ connection: Connection, _ username: String, to verb: String) async throws {
        try await reporting {
            try await connection.client().send("PUT", "\(APIPaths.users)/\(APIClient.escape(username))/status/\(verb)")
            try connection.done("\(username): \(verb == "suspend" ? "suspended" : "active")")
        }
    }
}
