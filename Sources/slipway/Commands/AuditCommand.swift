import API
import ArgumentParser
import Foundation

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "The record of what was done, and its proof.",
        subcommands: [List.self, Show.self, Verify.self, Checkpoints.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Recorded model calls, the newest first.")
        @OptionGroup var connection: Connection
        @Option(help: "How many.") var limit = 50
        @Option(help: "Only this user's.") var user: String?
        @Option(help: "Only calls of this model.") var model: String?

        func run() async throws {
            try await reporting {
                let list: InterceptionList = try await connection.client().get(
                    APIPaths.interceptions, query: [("limit", "\(limit)"), ("initiator", user), ("model", model)])
                try connection.show(list) { list in
                    var table = Table("started", "user", "client", "model", "#in", "#out", "#cost", "state", "id")
                    for call in list.interceptions {
                        table.add(
                            Text.time(call.startedAt), call.initiator, call.client, call.model,
                            call.usage.map { "\($0.inputTokens)" } ?? "-",
                            call.usage.map { "\($0.outputTokens)" } ?? "-", Text.money(call.costNanoDollars), call.status, call.id)
                    }
                    table.show(ifEmpty: "No model calls on record.")
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One model call with its content.")
        @OptionGroup var connection: Connection
        @Argument(help: "Id of the call.") var id: String

        func run() async throws {
            try await reporting {
                let call: Interception = try await connection.client().get("\(APIPaths.interceptions)/\(APIClient.escape(id))")
                try connection.show(call, text: describe)
            }
        }

        private func describe(_ call: Interception) {
            print(
                "\(call.model) at \(call.providerName) for \(call.initiator) through \(call.client), \(Text.time(call.startedAt))")
            print("\(call.status), allowed by \(call.policy), \(Text.money(call.costNanoDollars))")
            if let error = call.error { print(Terminal.styled(Terminal.plain(error), .red)) }
            section("Prompt", call.prompt)
            section("Thoughts", call.thoughts)
            section("Answer", call.answer)
            for tool in call.toolUsages ?? [] {
                print("\n\(Terminal.styled("▸ \(tool.tool)", .cyan)) \(Transcript.summary(ofArguments: tool.input))")
                if let result = tool.result { for line in Text.excerpt(Terminal.plain(result), lines: 20) { print("  \(line)") } }
            }
            var table = Table("attempt", "state", "#input", "#cache read", "#cache write", "#output", "#cost", "price")
            for row in call.ledger ?? [] {
                table.add(
                    "\(row.attempt)", row.state, "\(row.usage.inputTokens)", "\(row.usage.cacheReadInputTokens)",
                    "\(row.usage.cacheWriteInputTokens)", "\(row.usage.outputTokens)", Text.money(row.costNanoDollars), row.priceID)
            }
            print("")
            table.show(ifEmpty: "Nothing in the ledger yet.")
        }

        private func section(_ title: String, _ text: String?) {
            guard let text, !text.isEmpty else { return }
            print("\n\(Terminal.styled(title, .bold))\n\(Terminal.plain(text))")
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Derive every digest again from the live rows and compare.",
            discussion: """
                Names any change, removal, insertion or reorder up to the last checkpoint. With --anchor FILE (checkpoints exported
                earlier with 'slipway audit checkpoints --output json') also the removal of the tail, and signing anew.
                """)
        @OptionGroup var connection: Connection
        @Option(help: "File with checkpoints that were exported earlier.") var anchor: String?

        func run() async throws {
            try await reporting {
                let checkpoints = try anchor.map(Self.read)
                let result: AuditVerification = try await connection.client().post(
                    APIPaths.audit + "/verify", VerifyAuditRequest(anchor: checkpoints), timeout: .seconds(600))
                try connection.show(result, text: describe)
                if !result.ok { throw ExitCode(Failure.Status.auditProblems.rawValue) }
            }
        }

        private static func read(_ path: String) throws -> [AuditCheckpoint] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw Failure(.failed, "\(path) cannot be read.")
            }
            do {
                return try APICoding.decoder().decode(AuditCheckpointList.self, from: data).checkpoints
            } catch {
                throw Failure(
                    .failed, "\(path) holds no checkpoints.", hint: "Export them: slipway audit checkpoints --output json > FILE")
            }
        }

        private func describe(_ result: AuditVerification) {
            let extent = "\(result.entries) entries in \(result.chains.count) chains, \(result.checkpoints) signed checkpoints"
            guard !result.ok else { return print(Terminal.styled("✓ the record verifies: ", .green) + extent) }
            print(Terminal.styled("✗ the record does not verify: ", .red) + extent)
            for problem in result.problems {
                let place = [problem.chain.map { "chain \($0)" }, problem.n.map { "entry \($0)" }].compactMap(\.self).joined(
                    separator: " ")
                print("  \(problem.kind) \(place): \(Terminal.plain(problem.message))")
            }
            if result.moreProblems > 0 { print("  and \(result.moreProblems) more") }
        }
    }

    struct Checkpoints: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Signed checkpoints, to be kept elsewhere as an anchor.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: AuditCheckpointList = try await connection.client().get(
                    APIPaths.audit + "/checkpoints", query: [("limit", "1000")])
                try connection.show(list) { list in
                    var table = Table("#number", "signed", "#entries", "digest")
                    for point in list.checkpoints {
                        table.add("\(point.number)", Text.time(point.at), "\(point.entries)", String(point.digest.prefix(24)))
                    }
                    table.show(ifEmpty: "No checkpoint yet: one is signed every 10 seconds while there are new entries.")
                }
            }
        }
    }
}
