import API
import ArgumentParser

extension AuditCommand {
    struct ContentMode: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "content-mode", abstract: "What of calls is kept: full, hashed (hashes and sizes only) or none.",
            discussion: "Without a mode: the one in force. A change holds for calls that begin from then on.")
        @OptionGroup var connection: Connection
        @Argument(help: "'full', 'hashed' or 'none'.") var mode: String?

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let rules: AuditRules
                if let mode {
                    rules = try await client.put(APIPaths.audit + "/rules/content-mode", SetContentModeRequest(contentMode: mode))
                } else {
                    rules = try await client.get(APIPaths.audit + "/rules")
                }
                try connection.show(rules) { print("Content mode: \($0.contentMode)") }
            }
        }
    }

    struct Retention: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "For how long content and records of calls are kept.", subcommands: [Show.self, Set.self],
            defaultSubcommand: Show.self)

        static func describe(_ rules: AuditRules) {
            func days(_ number: Int?) -> String { number.map { "\($0) day\($0 == 1 ? "" : "s")" } ?? "for ever" }
            print("Content: \(days(rules.contentDays))")
            print("Records: \(days(rules.recordDays))")
        }

        struct Show: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "What is in force.")
            @OptionGroup var connection: Connection

            func run() async throws {
                try await reporting {
                    let rules: AuditRules = try await connection.client().get(APIPaths.audit + "/rules")
                    try connection.show(rules, text: Retention.describe)
                }
            }
        }

        struct Set: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Set both; what is not given is kept for ever.",
                discussion:
                    "What is beyond its time is removed within a minute, unless it is held; the audit record still verifies.")
            @OptionGroup var connection: Connection
            @Option(help: "Days for prompts, answers, tool calls and results.") var contentDays: Int?
            @Option(help: "Days for the records of calls: who, which model, what it cost.") var recordDays: Int?

            func run() async throws {
                try await reporting {
                    let rules: AuditRules = try await connection.client().put(
                        APIPaths.audit + "/rules/retention",
                        SetRetentionRequest(contentDays: contentDays, recordDays: recordDays))
                    try connection.show(rules, text: Retention.describe)
                }
            }
        }
    }

    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Legal holds: what is held is never removed.", subcommands: [List.self, Add.self, Remove.self],
            defaultSubcommand: List.self)

        static func show(_ holds: [AuditHold]) {
            var table = Table("kind", "what", "reason", "since", "id")
            for hold in holds { table.add(hold.kind, hold.name, hold.reason, Text.time(hold.createdAt), hold.id) }
            table.show(ifEmpty: "Nothing is held.")
        }

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "What is held, and why.")
            @OptionGroup var connection: Connection

            func run() async throws {
                try await reporting {
                    let list: AuditHoldList = try await connection.client().get(APIPaths.audit + "/holds")
                    try connection.show(list) { Hold.show($0.holds) }
                }
            }
        }

        struct Add: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Hold the calls of a user, of a session or of a task.")
            @OptionGroup var connection: Connection
            @Option(help: "All calls of this user.") var user: String?
            @Option(help: "All calls of this session.") var session: String?
            @Option(help: "All calls of this task.") var task: String?
            @Option(help: "Why, for the record.") var reason: String

            func validate() throws {
                guard [user, session, task].compactMap(\.self).count == 1 else {
                    throw ValidationError("Name one of --user, --session and --task.")
                }
            }

            func run() async throws {
                try await reporting {
                    let (kind, subject) =
                        user.map { ("user", $0) } ?? session.map { ("session", $0) } ?? ("task", task ?? "")
                    let hold: AuditHold = try await connection.client().post(
                        APIPaths.audit + "/holds", AddAuditHoldRequest(kind: kind, subject: subject, reason: reason))
                    try connection.show(hold) { Hold.show([$0]) }
                }
            }
        }

        struct Remove: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "End a hold.")
            @OptionGroup var connection: Connection
            @Argument(help: "Id of the hold.") var id: String

            func run() async throws {
                try await reporting {
                    try await connection.client().send("DELETE", "\(APIPaths.audit)/holds/\(APIClient.escape(id))")
                    try connection.done("The hold is gone: what it kept goes when its time is over.")
                }
            }
        }
    }
}
