import ArgumentParser

/// The client: everything people do from a terminal.
@main
struct Slipway: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slipway",
        abstract: "Delegate coding work to AI agents; get a commit, a price and a record.",
        discussion: """
            Start with `slipway login URL`, then `slipway task create --repo . --prompt "…" --follow`.

            Exit codes: 0 done; 1 refused or failed; 3 not signed in or not allowed; 4 not found; 5 a task came to rest without
            completing; 6 the audit record does not verify; 64 wrong usage; 69 the server cannot be reached.
            """,
        version: "0.1.0",
        subcommands: [
            ServerCommand.self, LoginCommand.self, UsersCommand.self, TokensCommand.self, KeysCommand.self, ProvidersCommand.self,
            ModelsCommand.self, RoutesCommand.self, MCPCommand.self,
            BudgetCommand.self, TaskCommand.self, WorkspaceCommand.self, UsageCommand.self, AuditCommand.self,
        ])
}
