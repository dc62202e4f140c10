import API
import ArgumentParser
import Core
import Foundation
import HTTPTransport

struct TaskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "task", abstract: "Delegate work and get it back.",
        subcommands: [
            Create.self, List.self, Show.self, Follow.self, Send.self, Interrupt.self, Resume.self, Approve.self, Diff.self,
            Pull.self,
        ],
        defaultSubcommand: List.self)

    static func path(_ task: String) -> String { "\(APIPaths.tasks)/\(APIClient.escape(task))" }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Hand a task on a git repository to an agent.")
        @OptionGroup var connection: Connection
        @Option(help: "Path of the repository on this machine.") var repo = "."
        @Option(help: "What is to be done.") var prompt: String?
        @Option(help: "Model, or provider/model. Default: the server's.") var model: String?
        @Option(help: "Branch to start from. Default: the one that is checked out.") var base: String?
        @OptionGroup var limits: LimitOptions
        @Flag(help: "Show the transcript until the task comes to rest.") var follow = false

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let repository = try GitRepository(at: repo)
                try repository.requireCommit(on: base)
                guard let prompt = prompt ?? Self.typedPrompt(), !prompt.isEmpty else {
                    throw Failure(.usage, "No prompt was given.", hint: "Use --prompt \"…\", or write it on standard input.")
                }
                if repository.isDirty {
                    Terminal.note("note: changes that are not committed stay here; the agent starts from the commit.")
                }
                let text = connection.output == .text
                if text { Terminal.progress("making a bundle of \(repository.path) …") }
                let file: UploadedFile = try await repository.withBundle { bundle in
                    let upload = try UploadFile(path: bundle.path)
                    if text { Terminal.progress("sending \(upload.size / 1024 + 1) KiB …") }
                    return try await client.upload(APIPaths.files, upload)
                }
                Terminal.clearProgress()
                let task: AgentTask = try await client.post(
                    APIPaths.tasks,
                    CreateTaskRequest(
                        prompt: prompt, model: model, fileID: file.id, repositoryName: repository.name,
                        baseBranch: base ?? repository.branch, limits: try limits.value()))
                try connection.show(task) { task in
                    print("Task \(task.name) with \(task.model)\(task.scripted ? " (scripted, no AI)" : ""): \(task.id)")
                    if !follow { print("Watch it: slipway task follow \(task.name)") }
                }
                if follow { try await Follow.watch(task.id, client: client, output: connection.output) }
            }
        }

        private static func typedPrompt() -> String? {
            if isatty(STDIN_FILENO) == 1 { Terminal.note("What is to be done? End with Ctrl-D.") }
            return String(data: FileHandle.standardInput.readDataToEndOfFile(), encoding: .utf8)?
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Your tasks, the newest first; admins and auditors see everybody's.")
        @OptionGroup var connection: Connection
        @Option(help: "How many.") var limit = 50

        func run() async throws {
            try await reporting {
                let list: TaskList = try await connection.client().get(APIPaths.tasks, query: [("limit", "\(limit)")])
                try connection.show(list) { list in
                    var table = Table("name", "state", "owner", "#steps", "#cost", "created", "title")
                    for task in list.tasks {
                        table.add(
                            task.name, task.status, task.owner, "\(task.usage.steps)", Text.money(task.usage.costNanoDollars),
                            Text.time(task.createdAt), Text.line(task.title))
                    }
                    table.show(ifEmpty: "No tasks. Delegate one: slipway task create --repo . --prompt \"…\" --follow")
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One task and its transcript.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                var after: Int64 = 0
                var events: [TaskEvent] = []
                while true {
                    let part: TaskEventList = try await client.get(
                        TaskCommand.path(task) + "/events", query: [("after", "\(after)")])
                    switch connection.output {
                    case .json: events += part.events
                    case .text: for event in part.events { Transcript().show(event) }
                    }
                    guard let last = part.events.last?.sequence, last > after else {
                        return try connection.show(Shown(task: part.task, events: events)) { TaskCommand.describe($0.task) }
                    }
                    after = last
                }
            }
        }

        /// The task's own fields, and its events beside them.
        private struct Shown: Encodable {
            var task: AgentTask
            var events: [TaskEvent]

            private enum CodingKeys: CodingKey { case events }

            func encode(to encoder: any Encoder) throws {
                try task.encode(to: encoder)
                var fields = encoder.container(keyedBy: CodingKeys.self)
                try fields.encode(events, forKey: .events)
            }
        }
    }

    struct Follow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the transcript as it grows, until the task comes to rest.",
            discussion: "Ends with 0 when the task completed, with 5 when it paused, failed or was interrupted.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String
        @Option(help: "Begin after this event.") var after: Int64 = 0

        func run() async throws {
            try await reporting {
                try await Self.watch(task, client: try connection.client(), output: connection.output, after: after)
            }
        }

        /// Reads on by cursor, so that nothing is shown twice; a server that is restarted in between is waited for.
        static func watch(_ task: String, client: APIClient, output: OutputFormat, after: Int64 = 0) async throws {
            var after = after
            var outage = Outage(of: client)
            while true {
                let part: TaskEventList = try await outage.bridging("what comes after event \(after)") {
                    try await client.get(
                        TaskCommand.path(task) + "/events", query: [("after", "\(after)"), ("wait", "25")], wait: .seconds(25))
                }
                for event in part.events {
                    after = event.sequence
                    switch output {
                    case .json: print(String(decoding: try APICoding.encoder().encode(event), as: UTF8.self))
                    case .text: Transcript().show(event)
                    }
                }
                // A pipe's reader follows too.
                fflush(nil)
                if TaskCommand.isAtRest(part.task.status), after >= part.task.lastSequence {
                    Terminal.clearProgress()
                    if output == .text { TaskCommand.describe(part.task) }
                    if part.task.status != "completed" { throw ExitCode(Failure.Status.taskNotCompleted.rawValue) }
                    return
                }
                if output == .text {
                    Terminal.progress(
                        "\(part.task.status) · \(counted(part.task.usage.steps, "step")) · \(Text.money(part.task.usage.costNanoDollars))"
                    )
                }
            }
        }
    }

    struct Send: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Tell the agent more; it reads it before its next step.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String
        @Argument(help: "What to say.") var text: String

        func run() async throws {
            try await reporting {
                let value: AgentTask = try await connection.client().post(
                    TaskCommand.path(task) + "/messages", SendMessageRequest(text: text))
                try connection.show(value, text: TaskCommand.describe)
            }
        }
    }

    struct Interrupt: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop the model's answer and the running command.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String

        func run() async throws {
            try await reporting {
                let value: AgentTask = try await connection.client().post(TaskCommand.path(task) + "/interrupt", [String: String]())
                try connection.show(value, text: TaskCommand.describe)
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go on with a task that came to rest, with other limits if given.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String
        @OptionGroup var limits: LimitOptions

        func run() async throws {
            try await reporting {
                let value: AgentTask = try await connection.client().post(
                    TaskCommand.path(task) + "/resume", ResumeTaskRequest(limits: try limits.value()))
                try connection.show(value, text: TaskCommand.describe)
            }
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Allow the tool call for which a task waits; the task goes on.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String
        @Flag(help: "Do not allow it; the model is told so.") var deny = false

        func run() async throws {
            try await reporting {
                let value: AgentTask = try await connection.client().post(
                    TaskCommand.path(task) + "/approval", AnswerApprovalRequest(allow: !deny))
                try connection.show(value, text: TaskCommand.describe)
            }
        }
    }

    struct Diff: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What the task changed.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String

        func run() async throws {
            try await reporting {
                var diff = Data()
                try await connection.client().download(TaskCommand.path(task) + "/diff") { diff += $0 }
                if case .json = connection.output {
                    return try connection.show(["diff": String(decoding: diff, as: UTF8.self)]) { _ in }
                }
                guard Terminal.hasColours else { return FileHandle.standardOutput.write(diff) }
                for line in String(decoding: diff, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false) {
                    print(Self.coloured(Terminal.plain(String(line))))
                }
            }
        }

        private static func coloured(_ line: String) -> String {
            if line.hasPrefix("diff ") || line.hasPrefix("+++ ") || line.hasPrefix("--- ") { return Terminal.styled(line, .bold) }
            if line.hasPrefix("@@") { return Terminal.styled(line, .cyan) }
            if line.hasPrefix("+") { return Terminal.styled(line, .green) }
            if line.hasPrefix("-") { return Terminal.styled(line, .red) }
            return line
        }
    }

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fetch the task's branch slipway/<task> into the repository here.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name or id.") var task: String
        @Option(help: "Path of the repository on this machine.") var repo = "."

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                let repository = try GitRepository(at: repo)
                let value: AgentTask = try await client.get(TaskCommand.path(task))
                guard TaskCommand.hasCommit(value.repository) else {
                    let hint = value.status == "completed" ? "It completed without changing a file." : value.message
                    throw Failure(.failed, "Task \(value.name) has no commit (it is \(value.status)).", hint: hint)
                }
                try await GitRepository.withTemporaryFile { file in
                    try Data().write(to: file)
                    let handle = try FileHandle(forWritingTo: file)
                    defer { try? handle.close() }
                    try await client.download(TaskCommand.path(task) + "/bundle") { try handle.write(contentsOf: $0) }
                    try repository.fetch(file, branch: value.repository.branch)
                }
                try connection.show(value) { value in
                    let change = value.repository
                    print(
                        "Branch \(change.branch): \(counted(change.changedFiles, "file")), +\(change.additions) −\(change.deletions). "
                            + "Look at it: git log -p \(change.baseBranch ?? "HEAD")..\(change.branch)")
                }
            }
        }
    }

    static func isAtRest(_ status: String) -> Bool { ["paused", "interrupted", "completed", "failed"].contains(status) }

    /// Whether there is more than the commit it started from.
    static func hasCommit(_ repository: TaskRepository) -> Bool {
        repository.headCommit != nil && repository.headCommit != repository.baseCommit
    }

    static func describe(_ task: AgentTask) {
        let state: Terminal.Style = task.status == "completed" ? .green : task.status == "failed" ? .red : .bold
        print(
            "\n\(Terminal.styled(task.status, state)) · \(task.name) · \(counted(task.usage.steps, "step")) · "
                + "\(Text.money(task.usage.costNanoDollars)) · \(task.model)\(task.scripted ? " (scripted, no AI)" : "")")
        if let message = task.message { print(Terminal.plain(message)) }
        if hasCommit(task.repository) { print("Get it: slipway task pull \(task.name)") }
    }
}

/// Limits of a task; it pauses and asks when one is reached.
struct LimitOptions: ParsableArguments {
    @Option(help: "Pause when it has cost this many dollars.") var maxCost: String?
    @Option(help: "Pause after this many steps.") var maxSteps: Int?
    @Option(help: "Pause after this many minutes.") var maxMinutes: Int?

    func value() throws -> TaskLimits? {
        guard maxCost != nil || maxSteps != nil || maxMinutes != nil else { return nil }
        let cost = try maxCost.map { text in
            guard let amount = NanoDollars(dollars: text) else {
                throw Failure(.usage, "--max-cost is '\(text)'; it must be dollars, e.g. 2 or 0.50.")
            }
            return amount.value
        }
        return TaskLimits(costNanoDollars: cost, steps: maxSteps, seconds: maxMinutes.map { $0 * 60 })
    }
}
