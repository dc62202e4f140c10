import API
import ArgumentParser
import Foundation

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "The record of what was done, and its proof.",
        subcommands: [
            List.self, Show.self, Content.self, Verify.self, Checkpoints.self, Export.self, Prove.self, CheckProof.self,
            ContentMode.self,
            Retention.self, Hold.self, Sinks.self,
        ], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "What is on record, the newest first: model calls, and changes to accounts, tokens, providers, policies, budgets.",
            discussion:
                "With --model, --text, --tool or --decision only model calls, with --kind only changes ('user', 'token', 'user.roles', 'login.locked', …)."
        )
        @OptionGroup var connection: Connection
        @Option(help: "How many of each.") var limit = 50
        @Option(help: "Only what this user did.") var user: String?
        @Option(help: "Only calls of those who are in this group.") var group: String?
        @Option(help: "Only calls of this model.") var model: String?
        @Option(help: "Only calls with these words in prompt or answer.") var text: String?
        @Option(help: "Only calls that asked for this tool.") var tool: String?
        @Option(help: "Only 'allowed' or 'refused' calls.") var decision: String?
        @Option(help: "Only changes of this kind.") var kind: String?
        @Option(help: "Only changes to this subject: a user's name, 'user/token', a provider, a policy.") var subject: String?

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                var record = Record()
                if kind == nil, subject == nil {
                    let list: InterceptionList = try await client.get(
                        APIPaths.interceptions,
                        query: [
                            ("limit", "\(limit)"), ("initiator", user), ("group", group), ("model", model), ("text", text),
                            ("tool", tool),
                            ("decision", decision),
                        ])
                    record.interceptions = list.interceptions
                }
                if [group, model, text, tool, decision].allSatisfy({ $0 == nil }) {
                    record.facts = try await changes(client)
                }
                try connection.show(record) { record in
                    record.table.show(ifEmpty: "Nothing on record.")
                }
            }
        }

        /// Those who may not read the record of changes see their own calls.
        private func changes(_ client: APIClient) async throws -> [AuditFact] {
            do {
                let list: AuditFactList = try await client.get(
                    APIPaths.audit + "/facts",
                    query: [("limit", "\(limit)"), ("actor", user), ("kind", kind), ("subject", subject)])
                return list.facts
            } catch let failure as Failure where failure.status == .notAllowed && kind == nil && subject == nil {
                return []
            }
        }

        struct Record: Codable {
            var interceptions: [Interception] = []
            var facts: [AuditFact] = []

            var table: Table {
                var lines: [(at: Date, cells: [String])] = interceptions.map { call in
                    let tokens =
                        call.usage.map {
                            // What was read from a cache is input, too.
                            let input = $0.inputTokens + $0.cacheReadInputTokens + $0.cacheWriteInputTokens
                            return ", \(input) in, \($0.outputTokens) out"
                        } ?? ""
                    return (
                        call.startedAt,
                        [
                            call.initiator, "call", call.model, "\(call.status), \(Text.money(call.costNanoDollars))\(tokens)",
                            call.id,
                        ]
                    )
                }
                lines += facts.map { fact in
                    let details = fact.details.filter {
                        !["id", "user", "password", "key"].contains($0.key) && $0.value != fact.subject
                    }
                    let words = details.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
                    return (fact.at, [fact.actor ?? "-", fact.kind, fact.subject, words, fact.id])
                }
                var table = Table("at", "actor", "what", "subject", "details", "id")
                for line in lines.sorted(by: { $0.at > $1.at }) { table.add(row: [Text.time(line.at)] + line.cells) }
                return table
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
            describeDecision(call)
            if let first = call.hedgeOf { print("a second attempt at \(first)") }
            if let first = call.firstTokenMilliseconds {
                let total =
                    call.endedAt.map { ", ended after \(Int(($0.timeIntervalSince(call.startedAt) * 1000).rounded())) ms" } ?? ""
                print("first token after \(first) ms\(total)")
            }
            describeContent(call)
            if let findings = call.findings, !findings.isEmpty { AuditCommand.show(findings) }
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
            table.show(ifEmpty: call.isUnpaid ? "Nothing was spent." : "Nothing in the ledger yet.")
        }

        private func describeDecision(_ call: Interception) {
            switch call.decision {
            case .allowed(let rule):
                print("\(call.status), allowed by \(rule), \(Text.money(call.costNanoDollars))")
                if let error = call.error { print(Terminal.styled(Terminal.plain(error), .red)) }
            case .refusedBy(let rule): print(Terminal.styled("refused by \(rule)", .red))
            case .refused(let reason, let rule):
                let passed = rule.isEmpty ? "" : "; rule \(rule) had let it pass"
                print(Terminal.styled("refused: \(Terminal.plain(reason))", .red) + passed)
            }
        }

        /// Why there is less to see than was said.
        private func describeContent(_ call: Interception) {
            switch call.content {
            case "hashed": print("Only the hashes and sizes of its content are kept.")
            case "none": print("Nothing of its content is kept.")
            case "removed":
                print("Its content was removed by retention on \(call.contentRemovedAt.map(Text.time) ?? "an unknown day").")
            default: break
            }
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
        @Option(help: "Verify this exported record, without a server.") var file: String?

        func run() async throws {
            try await reporting {
                if let file { return try OfflineAudit.verify(file, anchor: try anchor.map(Self.read), connection) }
                let checkpoints = try anchor.map(Self.read)
                let result: AuditVerification = try await connection.client().post(
                    APIPaths.audit + "/verify", VerifyAuditRequest(anchor: checkpoints), timeout: .seconds(600))
                try connection.show(result, text: Self.describe)
                if !result.ok { throw ExitCode(Failure.Status.auditProblems.rawValue) }
            }
        }

        static func read(_ path: String) throws -> [AuditCheckpoint] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw Failure(.failed, "\(path) cannot be read.")
            }
            let list = try? APICoding.decoder().decode(AuditCheckpointList.self, from: data)
            guard let checkpoints = list?.checkpoints, !checkpoints.isEmpty else {
                throw Failure(
                    .failed, "\(path) holds no checkpoints.", hint: "Export them: slipway audit checkpoints --output json > FILE")
            }
            return checkpoints
        }

        static func describe(_ result: AuditVerification) {
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

extension AuditCommand {
    /// What rules about content found.
    static func show(_ findings: [ContentFinding]) {
        var table = Table("found in", "what", "#times", "effect", "rule", "at")
        for finding in findings {
            table.add(
                finding.place, Terminal.plain(finding.subject), "\(finding.count)", finding.effect, finding.rule,
                Terminal.plain(finding.path ?? "-"))
        }
        print("")
        table.show(ifEmpty: "")
    }
}
