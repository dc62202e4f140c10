import API
import ArgumentParser
import Foundation

extension MCPCommand {
    struct Tools: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The tools that you may use; with a server's name, all of its tools.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the server.") var name: String?

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let names: [String]
                if let name {
                    names = [name]
                } else {
                    let list: MCPServerList = try await client.get(APIPaths.mcpServers)
                    names = list.servers.filter { $0.enabled && ($0.auth == "none" || $0.signedIn) }.map(\.name)
                }
                var tools: [MCPServerTool] = []
                for server in names {
                    let list: MCPServerToolList = try await client.get(MCPCommand.path(server) + "/tools")
                    tools += list.tools.filter { name != nil || $0.allowed }
                }
                try connection.show(MCPServerToolList(tools: tools)) { list in
                    var table = Table("tool", "", "what it does")
                    for tool in list.tools {
                        let text = (tool.description ?? "").split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
                        table.add(tool.offeredAs, tool.allowed ? "" : "denied", Terminal.plain(String(text.prefix(70))))
                    }
                    table.show(ifEmpty: "No tools.")
                }
            }
        }
    }

    struct CallTool: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "call", abstract: "Call a tool and print what it says; the call is recorded.",
            discussion: "Ends with 1 when the tool says that it failed.")
        @OptionGroup var connection: Connection
        @Argument(help: "The tool, as SERVER__TOOL.") var tool: String
        @Option(help: "The arguments, as a JSON object.") var arguments = "{}"

        func run() async throws {
            try await reporting {
                guard let given = try? JSONSerialization.jsonObject(with: Data(arguments.utf8)) as? [String: Any] else {
                    throw Failure(
                        .usage, "--arguments is no JSON object.", hint: "For instance: --arguments '{\"path\": \"README.md\"}'")
                }
                let message: [String: Any] = [
                    "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ["name": tool, "arguments": given],
                ]
                let answer = try await connection.client().exchange(
                    APIPaths.mcp, try JSONSerialization.data(withJSONObject: message), timeout: .seconds(700))
                let fields = try JSONSerialization.jsonObject(with: answer) as? [String: Any] ?? [:]
                if let error = fields["error"] as? [String: Any] {
                    let data = error["data"] as? [String: Any]
                    throw Failure(
                        data?["code"] as? String == "not_found" ? .notFound : .failed,
                        error["message"] as? String ?? "The tool could not be called.")
                }
                let result = fields["result"] as? [String: Any] ?? [:]
                try show(result)
                if result["isError"] as? Bool == true { throw ExitCode(1) }
            }
        }

        private func show(_ result: [String: Any]) throws {
            if connection.output == .json {
                let data = try JSONSerialization.data(withJSONObject: result, options: [.prettyPrinted, .sortedKeys])
                return print(String(decoding: data, as: UTF8.self))
            }
            for part in result["content"] as? [[String: Any]] ?? [] {
                if let text = part["text"] as? String {
                    print(Terminal.plain(text))
                } else {
                    print("(\(part["type"] as? String ?? "something") that is no text; --output json shows it)")
                }
            }
        }
    }

    struct Calls: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The record of calls of tools, newest first: your own, or everybody's for who may see them.")
        @OptionGroup var connection: Connection
        @Argument(help: "The id of one call: shows its arguments and result.") var id: String?
        @Option(help: "Only this user's.") var user: String?
        @Option(help: "Only of this server.") var server: String?
        @Option(help: "Only of this tool.") var tool: String?
        @Option(help: "At most so many.") var limit = 50

        func run() async throws {
            try await reporting {
                if let id { return try await showOne(id) }
                let list: MCPCallList = try await connection.client().get(
                    APIPaths.mcpCalls,
                    query: [("initiator", user), ("server", server), ("tool", tool), ("limit", "\(limit)")])
                try connection.show(list) { list in
                    var table = Table("id", "when", "who", "tool", "status", "ms")
                    for call in list.calls {
                        table.add(
                            call.id, Text.time(call.startedAt), call.initiator ?? call.initiatorID,
                            "\(call.server)__\(call.tool)", call.status, call.durationMicroseconds.map { "\($0 / 1000)" } ?? "-")
                    }
                    table.show(ifEmpty: "No calls.")
                }
            }
        }

        private func showOne(_ id: String) async throws {
            let call: MCPCall = try await connection.client().get("\(APIPaths.mcpCalls)/\(APIClient.escape(id))")
            try connection.show(call) { call in
                print("\(call.server)__\(call.tool) by \(call.initiator ?? call.initiatorID): \(call.status) (\(call.rule))")
                if let error = call.error { print("error: \(error)") }
                print("arguments: \(Terminal.plain(call.arguments ?? "(removed)"))")
                print("result: \(Terminal.plain(call.result ?? "-"))")
                if let findings = call.findings { AuditCommand.show(findings) }
            }
        }
    }
}
