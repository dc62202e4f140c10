import API
import ArgumentParser
import Foundation
import Policies

extension PolicyCommand {
    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a file of cases: requests, and what is expected for each.",
            discussion: "With --policy nothing is sent anywhere: only the given files are asked. Without it, what is in force.")
        @OptionGroup var connection: Connection
        @Argument(help: "YAML file with cases; - for standard input.") var cases: String
        @Option(help: "File or folder of policies to ask; may be given more than once.") var policy: [String] = []

        func run() async throws {
            try await reporting {
                let file = try PolicyFile(cases)
                let report = policy.isEmpty ? try await remote(file) : try local(file)
                try connection.show(report) { report in
                    for test in report.cases {
                        let mark = test.problem == nil ? Terminal.styled("✓", .green) : Terminal.styled("✗", .red)
                        let result = test.problem ?? "\(test.verdict.effect) by \(test.verdict.rule)"
                        print("\(mark) \(Terminal.plain(test.name)): \(Terminal.plain(result))")
                    }
                }
                if report.failed > 0 { throw Failure(.failed, "\(report.failed) of \(report.cases.count) cases failed.") }
            }
        }

        private func remote(_ file: PolicyFile) async throws -> PolicyTestReport {
            try await connection.client().post(APIPaths.policies + "/test", TestPoliciesRequest(cases: file.text))
        }

        private func local(_ file: PolicyFile) throws -> PolicyTestReport {
            let set = PolicySet(try PolicyFile.all(policy).map { try $0.read() })
            let cases: PolicyCases
            do throws(PolicyFileError) {
                cases = try PolicyCases.read(file.text, now: Date())
            } catch {
                throw file.failure(error)
            }
            return PolicyTestReport(
                cases: cases.run(set).map { outcome in
                    let decision = outcome.decision
                    return .init(
                        name: outcome.name,
                        verdict: PolicyVerdict(
                            effect: decision.effect.rawValue, rule: decision.rule,
                            reason: decision.reason.isEmpty ? nil : decision.reason, flags: decision.flags,
                            route: decision.route?.target, content: decision.kept?.content.rawValue), problem: outcome.problem)
                })
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Which rule decided about a recorded call or a request, and why those before it did not.",
            discussion: """
                A recorded call is explained by the policies that were in force then, with the roles and groups that people have now;
                with --now by the policies of now.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Id of a recorded call.") var call: String?
        @Option(help: "YAML file with one request instead; - for standard input.") var request: String?
        @Flag(help: "By the policies of now.") var now = false

        func validate() throws {
            guard (call == nil) != (request == nil) else { throw ValidationError("Give either the id of a call or --request.") }
        }

        func run() async throws {
            try await reporting {
                let text = try request.map { try PolicyFile($0).text }
                let explanation: API.PolicyExplanation = try await connection.client().post(
                    APIPaths.policies + "/explain", ExplainPoliciesRequest(interceptionID: call, request: text, now: now))
                try connection.show(explanation, text: describe)
            }
        }

        private func describe(_ explanation: API.PolicyExplanation) {
            let signs = ["passed_over": "-", "noted": "+", "decided": "="]
            for step in explanation.steps {
                print("\(signs[step.outcome] ?? "?") \(Terminal.plain(step.rule)): \(Terminal.plain(step.because))")
            }
            let verdict = explanation.verdict
            print("\(verdict.effect) by \(Terminal.plain(verdict.rule))")
            if let reason = verdict.reason { print(Terminal.plain(reason)) }
            guard let recorded = explanation.recorded else { return }
            let rule = recorded.prefix { $0 != " " }
            print(
                rule == verdict.rule
                    ? "The record says the same." : "The record says \(Terminal.plain(recorded)): something has changed since.")
        }
    }

    struct Simulate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How past calls would be decided by other policies than those in force.",
            discussion: """
                Roles, groups and caps are those of now: the record does not keep what they were. Whether a call from outside called
                itself a background one is not on record either: it counts as interactive.
                """)
        @OptionGroup var connection: Connection
        @Option(help: "File or folder of policies that would be put in force; may be given more than once.") var policy: [String] =
            []
        @Option(help: "Name of a policy that would be deleted; may be given more than once.") var without: [String] = []
        @Option(help: "First day (UTC), such as 2026-11-20; default: the last 24 hours.") var day: String?
        @Option(help: "How many days from it on.") var days = 1

        func validate() throws {
            if policy.isEmpty, without.isEmpty { throw ValidationError("Give --policy or --without.") }
            if !(1...31).contains(days) { throw ValidationError("--days must be from 1 to 31.") }
            if day == nil, days != 1 { throw ValidationError("--days needs --day.") }
        }

        func run() async throws {
            try await reporting {
                var start: Date?
                if let day {
                    guard let date = APICoding.date(from: "\(day)T00:00:00Z") else {
                        throw Failure(.usage, "--day is '\(day)'; it must be a day such as 2026-11-20.")
                    }
                    start = date
                }
                let files = try PolicyFile.all(policy)
                for file in files { _ = try file.read() }
                let request = SimulatePoliciesRequest(
                    policies: files.map(\.text), without: without, startedAfter: start,
                    startedBefore: start?.addingTimeInterval(Double(days) * 86400))
                let result: PolicySimulation = try await connection.client().post(
                    APIPaths.policies + "/simulate", request, timeout: .seconds(600))
                try connection.show(result, text: describe)
            }
        }

        private func describe(_ result: PolicySimulation) {
            print(
                "\(result.calls) calls: \(result.changed) would be decided otherwise (\(result.newlyRefused) refused, \(result.newlyAllowed) allowed), \(result.otherRule) alike by another rule."
            )
            if result.asRecorded < result.calls {
                print(
                    "\(result.calls - result.asRecorded) were decided by another rule then than they would be by the policies of now."
                )
            }
            guard !result.changes.isEmpty else { return }
            var table = Table("#calls", "user", "model", "now", "would be")
            for change in result.changes {
                table.add(
                    "\(change.calls)", change.user, change.model, "\(change.effect) \(change.rule)",
                    "\(change.newEffect) \(change.newRule)")
            }
            table.show(ifEmpty: "")
            if result.moreChanges > 0 { print("and \(result.moreChanges) more lines") }
        }
    }
}
