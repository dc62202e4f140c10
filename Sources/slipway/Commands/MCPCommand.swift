import API
import ArgumentParser
import Foundation

struct MCPCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mcp", abstract: "Servers of tools (Model Context Protocol), and their tools.",
        discussion: "Programs use all of them at URL/api/v2/mcp with a Slipway token.",
        subcommands: [
            List.self, Show.self, Add.self, Change.self, Remove.self, Tools.self, Login.self, Logout.self, CallTool.self,
            Calls.self,
        ],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All servers; headers are never shown.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: MCPServerList = try await connection.client().get(APIPaths.mcpServers)
                try connection.show(list) { list in
                    var table = Table("name", "address", "log-in", "state")
                    for server in list.servers {
                        table.add(server.name, server.url ?? "-", server.login, server.enabled ? "enabled" : "disabled")
                    }
                    table.show(ifEmpty: "No servers of tools. An admin adds one: slipway mcp add NAME URL")
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One server.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String

        func run() async throws {
            try await reporting {
                let server: MCPServer = try await connection.client().get(MCPCommand.path(name))
                try connection.show(server) { $0.printed() }
            }
        }
    }

    /// What a server can be given.
    struct Properties: ParsableArguments {
        @Option(help: "none: the headers below are enough; user: each user has a token; oauth: each user authorizes Slipway.")
        var auth: String?
        @Option(help: "Only these tools; * stands for any characters. Several: repeat it; '' takes all back.") var allow: [String] =
            []
        @Option(help: "Not these tools; wins over --allow. Several: repeat it; '' takes all back.") var deny: [String] = []
        @Option(help: "As which client Slipway is known for --auth oauth. Default: it registers itself.") var clientID: String?
        @Option(help: "How many seconds a tool may take, 1 to 600. Default: 60.") var timeout: Int?
        @Option(help: "A header for every request to the server; its value is asked for, or read with --stdin.") var header: String?
        @Option(help: "A variable of a program's environment; its value is asked for, or read with --stdin.") var env: String?
        @Flag(help: "Read the value of the header or variable from standard input instead of asking.") var stdin = false
        @Flag(inversion: .prefixedNo, help: "Allow a loopback or private address.") var allowPrivate: Bool?
        @Option(help: "Put its tools into model calls: never, asked (by the header x-slipway-tools) or always. Default: never.")
        var inject: String?

        func request() throws -> MCPServerRequest {
            var request = MCPServerRequest()
            request.auth = auth
            if !allow.isEmpty { request.allowTools = allow.filter { !$0.isEmpty } }
            if !deny.isEmpty { request.denyTools = deny.filter { !$0.isEmpty } }
            request.timeoutSeconds = timeout
            request.oauthClientID = clientID
            request.allowPrivate = allowPrivate
            request.inject = inject
            if let header {
                request.headers = [MCPHeader(name: header, value: try MCPCommand.readValue(of: header, fromInput: stdin))]
            }
            if let env {
                request.environment = [MCPHeader(name: env, value: try MCPCommand.readValue(of: env, fromInput: stdin))]
            }
            return request
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a server that speaks streamable HTTP, or with --stdio a program.",
            discussion:
                "A program runs on the server's host, in a sandbox without network, files or variables but those that it is given.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name: its tools are called NAME__TOOL.") var name: String
        @Argument(help: "Address, e.g. https://tools.example.com/mcp; none with --stdio.") var address: String?
        @Flag(help: "Its tools are a program's: give it behind --, e.g. -- /usr/bin/python3 -m notes.") var stdio = false
        @Argument(parsing: .postTerminator, help: "The program and its arguments, with --stdio.") var command: [String] = []
        @OptionGroup var properties: Properties

        func run() async throws {
            try await reporting {
                var request = try properties.request()
                guard stdio ? address == nil && !command.isEmpty : address != nil && command.isEmpty else {
                    throw Failure(
                        .usage, "Give an address, or --stdio and a program.",
                        hint: "slipway mcp add NAME URL, or slipway mcp add NAME --stdio -- PROGRAM ARGUMENT…")
                }
                request.name = name
                request.url = address
                request.command = stdio ? command : nil
                let server: MCPServer = try await connection.client().post(APIPaths.mcpServers, request)
                try connection.show(server) {
                    print("Added \($0.name)\($0.command == nil ? " at \($0.url ?? "its address")" : ", a program").")
                }
            }
        }
    }

    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change a server; what is not given stays.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String
        @Option(help: "Another address. Of another host: users have to sign in again.") var address: String?
        @Flag(inversion: .prefixedEnableDisable, help: "Let calls pass, or refuse them.") var calls: Bool?
        @OptionGroup var properties: Properties

        func run() async throws {
            try await reporting {
                var request = try properties.request()
                request.url = address
                request.enabled = calls
                let server: MCPServer = try await connection.client().patch(MCPCommand.path(name), request)
                try connection.show(server) { $0.printed() }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a server and what users are known by there; the record stays.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", MCPCommand.path(name))
                try connection.done("Removed \(name).")
            }
        }
    }

    struct Login: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign in to a server: with a token of yours, or in your browser where it wants that.",
            discussion: "What the server is then known by is stored encrypted and sent to that server alone.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String
        @Option(help: "The header that the token goes in. Default: Authorization, as 'Bearer TOKEN'.") var header: String?
        @Flag(help: "Read the token from standard input instead of asking.") var stdin = false

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let server: MCPServer = try await client.get(MCPCommand.path(name))
                if server.auth == "oauth" { return try await authorize(client) }
                let value = try MCPCommand.readValue(of: name, fromInput: stdin)
                let sent =
                    header.map { MCPHeader(name: $0, value: value) } ?? MCPHeader(name: "Authorization", value: "Bearer \(value)")
                try await client.send("PUT", MCPCommand.path(name) + "/login", MCPLoginRequest(headers: [sent]))
                try connection.done("Signed in to \(name).")
            }
        }

        private func authorize(_ client: APIClient) async throws {
            let begun: MCPAuthorization = try await client.post(MCPCommand.path(name) + "/login", [String: String]())
            Terminal.error(
                "Open this page, and give the code that you are shown at its end:\n\n\(begun.authorizeURL)\n", prefix: "")
            let code = try MCPCommand.readValue(of: name, fromInput: stdin)
            try await client.send("PUT", MCPCommand.path(name) + "/login", MCPLoginRequest(code: code))
            try connection.done("Signed in to \(name).")
        }
    }

    struct Logout: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Forget your token for a server.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", MCPCommand.path(name) + "/login")
                try connection.done("Signed out of \(name).")
            }
        }
    }

    static func path(_ name: String) -> String { "\(APIPaths.mcpServers)/\(APIClient.escape(name))" }

    static func readValue(of name: String, fromInput: Bool) throws -> String {
        let value = fromInput ? readLine(strippingNewline: true) : Terminal.askSecret("Value for \(name): ")
        guard let value, !value.isEmpty else {
            throw Failure(.usage, "No value was given.", hint: "Without a terminal, use --stdin.")
        }
        return value
    }
}

extension MCPServer {
    fileprivate var login: String { auth != "none" ? (signedIn ? "signed in" : "needed") : "none" }

    fileprivate func printed() {
        print("\(name): \(enabled ? "enabled" : "disabled")")
        if let command {
            print("program: \(Terminal.plain(command.joined(separator: " ")))")
        } else if let url {
            print("address: \(url)\(allowPrivate ? " (private addresses allowed)" : "")")
        }
        print("log-in: \(login)")
        print("allowed tools: \(allowTools.isEmpty ? "all" : allowTools.joined(separator: ", "))")
        if !denyTools.isEmpty { print("denied tools: \(denyTools.joined(separator: ", "))") }
        if !headerNames.isEmpty { print("\(command == nil ? "headers" : "variables"): \(headerNames.joined(separator: ", "))") }
        print("a call may take: \(timeoutSeconds) s")
        if inject != "never" { print("put into model calls: \(inject)") }
    }
}
