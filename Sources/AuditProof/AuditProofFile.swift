import Core
import Foundation

/// What shows, without a server and without the rest of the record, that a call is on record as it says: its rows, the entries from
/// each to the next signed head of the chain, and the checkpoints that signed these.
package struct AuditProofFile: Sendable, Codable {
    package static let format = "slipway-audit-proof-1"

    /// An entry on the way to the signed head.
    package struct Step: Sendable, Codable, Equatable {
        package var digest: String
        package var kind: String
        package var subject: String
        package var at: Int64

        package init(_ link: AuditLink) {
            digest = link.digest.hex
            kind = link.kind
            subject = link.subject
            at = link.at
        }
    }

    package struct Item: Sendable, Codable {
        package var chain: UUID
        /// Of the first step, which is about the record.
        package var n: Int64
        package var prev: String
        package var record: AuditRecord
        package var path: [Step]
        package var checkpoint: Int64

        package init(chain: UUID, n: Int64, prev: Data, record: AuditRecord, path: [Step], checkpoint: Int64) {
            self.chain = chain
            self.n = n
            self.prev = prev.hex
            self.record = record
            self.path = path
            self.checkpoint = checkpoint
        }
    }

    package var format = Self.format
    package var interception: String
    package var items: [Item]
    /// As in an export, by number.
    package var checkpoints: [ExportLine]

    package init(interception: String, items: [Item], checkpoints: [Checkpoint]) {
        self.interception = interception
        self.items = items
        self.checkpoints = checkpoints.map { .checkpoint($0) }
    }

    package struct Verdict: Sendable {
        /// Each names what is wrong with what.
        package var problems: [String] = []
        package var proved: [String] = []
    }

    /// - Parameter trusted: public keys that are known from elsewhere; empty: those in the proof are taken at their word.
    package func check(trusted: Set<Data> = []) -> Verdict {
        var verdict = Verdict()
        guard format == Self.format else {
            verdict.problems.append("The proof has the format '\(format.prefix(60))', not \(Self.format).")
            return verdict
        }
        var signed: [Int64: Checkpoint] = [:]
        for case .checkpoint(let point) in checkpoints {
            let body = try? JSONDecoder().decode(Checkpoint.Body.self, from: point.body)
            if !point.isGenuine || body?.number != point.number {
                verdict.problems.append("The signature of checkpoint \(point.number) is not genuine.")
            } else if !trusted.isEmpty, !trusted.contains(point.publicKey) {
                verdict.problems.append("Checkpoint \(point.number) is signed with a key that the anchor does not know.")
            } else {
                signed[point.number] = point
            }
        }
        var provesCall = false
        for item in items {
            if let problem = problem(with: item, signed) {
                verdict.problems.append(problem)
            } else {
                provesCall = provesCall || item.path.first?.kind == "interception"
                verdict.proved.append(
                    "\(item.path[0].kind) \(item.path[0].subject) is entry \(item.n) of chain \(item.chain.uuidString.lowercased()), signed by checkpoint \(item.checkpoint)"
                )
            }
        }
        if !provesCall, verdict.problems.isEmpty {
            verdict.problems.append("The proof says nothing of the call \(interception.prefix(60)).")
        }
        return verdict
    }

    private func problem(with item: Item, _ signed: [Int64: Checkpoint]) -> String? {
        guard let first = item.path.first, var prev = Data(hex: item.prev) else { return "A part of the proof has no entries." }
        guard first.subject == interception || first.subject.hasPrefix(interception + "/") else {
            return "The proof has a row of another call: \(first.kind) \(first.subject.prefix(80))."
        }
        var n = item.n
        for (index, step) in item.path.enumerated() {
            guard let digest = Data(hex: step.digest) else {
                return "Step \(index + 1) to checkpoint \(item.checkpoint) has no digest."
            }
            let link = AuditLink(
                chain: item.chain, n: n, prev: prev, digest: digest, kind: step.kind, subject: step.subject, at: step.at)
            if index == 0, let problem = link.problem(with: item.record) { return problem }
            prev = link.link
            n += 1
        }
        guard let point = signed[item.checkpoint] else {
            return "Checkpoint \(item.checkpoint), which should sign \(first.kind) \(first.subject), is missing or not genuine."
        }
        guard point.heads.contains(where: { $0.chain == item.chain && $0.n == n - 1 && $0.link == prev.hex }) else {
            return
                "The entries from \(first.kind) \(first.subject) do not lead to what checkpoint \(item.checkpoint) signed: one of them was changed."
        }
        return nil
    }
}
