import API
import ArgumentParser
import Foundation

extension AuditCommand {
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
                "\(call.model) at \(call.providerName)\(call.answeredBy.map { ", answered by \($0)," } ?? "") for \(call.initiator) through \(call.client)\(token(call)), \(Text.time(call.startedAt))"
            )
            describeDecision(call)
            if let first = call.replayOf { print("the answer of \(first), given again") }
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
            showAttempts(call.attempts ?? [])
            var table = Table("attempt", "where", "state", "#input", "#cache read", "#cache write", "#output", "#cost", "price")
            for row in call.ledger ?? [] {
                table.add(
                    "\(row.attempt)", row.place ?? "-", row.state, "\(row.usage.inputTokens)", "\(row.usage.cacheReadInputTokens)",
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

        /// Where it was sent in vain before, and where it was not.
        private func showAttempts(_ attempts: [CallAttempt]) {
            if attempts.isEmpty { return }
            var table = Table("sent", "to", "key", "#http", "#ms", "error")
            for one in attempts {
                table.add(
                    "\(one.attempt)", "\(one.provider)/\(one.model)", one.credentialHint, one.httpStatus.map { "\($0)" } ?? "-",
                    "\(one.endedMilliseconds - one.beganMilliseconds)", Terminal.plain(one.error ?? "-"))
            }
            print("")
            table.show(ifEmpty: "")
        }

        private func token(_ call: Interception) -> String {
            (call.token ?? call.tokenID).map { " with the token '\(Terminal.plain($0))'" } ?? ""
        }

        /// Why there is less to see than was said.
        private func describeContent(_ call: Interception) {
            switch call.content {
            case "hashed":
                print("Only the hashes and sizes of its content are kept.")
                for (what, hash, bytes) in [
                    ("request", call.requestHash, call.requestBytes), ("answer", call.answerHash, call.answerBytes),
                ] {
                    if let hash, let bytes { print("  \(what): \(bytes) bytes, \(hash)") }
                }
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
