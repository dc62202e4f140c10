import API
import ArgumentParser
import Foundation

struct WorkspaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workspace", abstract: "The sandboxes that work happens in.",
        subcommands: [List.self, Create.self, Start.self, Stop.self, Delete.self, Exec.self, WorkspaceLogsCommand.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Your workspaces; admins see everybody's.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: WorkspaceList = try await connection.client().get(APIPaths.workspaces, query: [("limit", "1000")])
                try connection.show(list) { list in
                    var table = Table("name", "status", "agent", "owner", "created", "id", "reason")
                    for workspace in list.workspaces {
                        table.add(
                            workspace.name, workspace.status, workspace.agent ?? "-", workspace.owner,
                            Text.time(workspace.createdAt),
                            workspace.id, workspace.reason ?? "")
                    }
                    table.show(ifEmpty: "No workspaces. A task makes its own.")
                    for workspace in list.workspaces where workspace.status == "failed" {
                        Terminal.note("see: slipway workspace logs \(workspace.name)")
                    }
                }
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a workspace and start it.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name.") var name: String

        func run() async throws {
            try await reporting {
                let workspace: Workspace = try await connection.client().post(
                    APIPaths.workspaces, CreateWorkspaceRequest(name: name))
                try connection.show(workspace) { print("\($0.name): \($0.status) (\($0.id))") }
            }
        }
    }

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Start a stopped workspace.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var workspace: String
        func run() async throws { try await WorkspaceCommand.change(connection, workspace, "start") }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop a workspace; its files stay.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var workspace: String
        func run() async throws { try await WorkspaceCommand.change(connection, workspace, "stop") }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a workspace and its files.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var workspace: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", WorkspaceCommand.path(workspace))
                try connection.done("\(workspace): deleted")
            }
        }
    }

    struct Exec: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a command in a workspace; ends with its exit code.",
            discussion: "Example: slipway workspace exec my-workspace -- ls -la")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var workspace: String
        @Option(help: "Folder to run it in.") var directory: String?
        @Option(help: "Seconds to wait; the command keeps running afterwards.") var timeout = 60
        @Argument(parsing: .postTerminator, help: "The command, after --.") var command: [String] = []

        func validate() throws {
            if command.isEmpty { throw ValidationError("Give the command after --, e.g. slipway workspace exec NAME -- ls -la") }
        }

        func run() async throws {
            try await reporting {
                let line = command.count == 1 ? command[0] : command.map(Self.quoted).joined(separator: " ")
                let result: ExecResponse = try await connection.client().post(
                    WorkspaceCommand.path(workspace) + "/exec",
                    ExecRequest(command: line, directory: directory, timeoutSeconds: timeout), timeout: .seconds(timeout + 30))
                if case .json = connection.output {
                    try connection.show(result) { _ in }
                } else {
                    if result.truncated { Terminal.note("(the beginning of the output is not shown)") }
                    FileHandle.standardOutput.write(Data(result.output.utf8))
                }
                switch result.state {
                case "exited": if let code = result.exitCode, code != 0 { throw ExitCode(Int32(code)) }
                case "running": throw Failure(.failed, "Still running after \(timeout) s as process \(result.processID).")
                case "signaled": throw ExitCode(Int32(128 + (result.signal ?? 0)))
                default: throw Failure(.failed, "How the command ended is unknown: the sandbox was restarted.")
                }
            }
        }

        private static func quoted(_ word: String) -> String {
            let plain = word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=:,@%+".contains($0)) }
            return plain && !word.isEmpty ? word : "'\(word.replacing("'", with: "'\\''"))'"
        }
    }

    static func path(_ workspace: String) -> String { "\(APIPaths.workspaces)/\(APIClient.escape(workspace))" }

    private static func change(_ connection: Connection, _ workspace: String, _ verb: String) async throws {
        try await reporting {
            let changed: Workspace = try await connection.client().post("\(path(workspace))/\(verb)", [String: String]())
            try connection.show(changed) { print("\($0.name): \($0.status)") }
        }
    }
}
