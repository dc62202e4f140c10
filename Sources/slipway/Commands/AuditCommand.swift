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
                    let words = details.sorted { $0.key < $1.key }.map { "\($0.key) \(Self.value($0))" }.joined(separator: ", ")
                    return (fact.at, [fact.actor ?? "-", fact.kind, fact.subject, words, fact.id])
                }
                var table = Table("at", "actor", "what", "subject", "details", "id")
                for line in lines.sorted(by: { $0.at > $1.at }) { table.add(row: [Text.time(line.at)] + line.cells) }
                return table
            }

            /// The record has the end of a token as microseconds since 1970.
            private static func value(_ detail: (key: String, value: String)) -> String {
                guard detail.key == "expires", let microseconds = Int64(detail.value) else { return detail.value }
                return Text.time(Date(timeIntervalSince1970: Double(microseconds) / 1_000_000))
            }
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
