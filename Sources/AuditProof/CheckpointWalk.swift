import Core
import Foundation

/// Checks checkpoints against each other and against an anchor, one after the other. A pure value.
package struct CheckpointWalk: Sendable {
    /// The heads that were signed, with those of the anchor.
    package private(set) var heads: [UUID: [Int64: ChainWalk.SignedHead]] = [:]
    package private(set) var last: Checkpoint?
    private var anchored: [Int64: Checkpoint]
    private let trusted: Set<Data>

    package init(anchor: AuditAnchor?) {
        let checkpoints = anchor?.checkpoints ?? []
        anchored = Dictionary(checkpoints.map { ($0.number, $0) }, uniquingKeysWith: { first, _ in first })
        trusted = Set(checkpoints.map(\.publicKey))
        // The anchor's own word goes first: what it signed counts even where the database says otherwise.
        for checkpoint in anchored.values { add(checkpoint) }
    }

    /// - Parameter checkpoint: the next one, in order of the numbers.
    package mutating func walk(_ checkpoint: Checkpoint, _ report: inout AuditReport) {
        check(checkpoint, &report)
        if let known = anchored.removeValue(forKey: checkpoint.number),
            known.body != checkpoint.body || known.signature != checkpoint.signature
        {
            report.add(
                .checkpoint, n: checkpoint.number,
                "Checkpoint \(checkpoint.number) is not the one in the anchor: it was signed anew.")
        } else {
            add(checkpoint)
        }
        last = checkpoint
        report.checkpoints += 1
    }

    package func finish(_ report: inout AuditReport) {
        for number in anchored.keys.sorted() {
            report.add(.checkpoint, n: number, "Checkpoint \(number) of the anchor is missing.")
        }
        report.lastCheckpoint = last
    }

    private mutating func add(_ checkpoint: Checkpoint) {
        for head in checkpoint.heads where heads[head.chain]?[head.n] == nil {
            heads[head.chain, default: [:]][head.n] = .init(link: head.link, checkpoint: checkpoint.number)
        }
    }

    private func check(_ checkpoint: Checkpoint, _ report: inout AuditReport) {
        let number = checkpoint.number
        let expected = (last?.number ?? 0) + 1
        if number != expected {
            report.add(.checkpoint, n: expected, "Checkpoints \(expected) to \(number - 1) are missing.")
        }
        guard checkpoint.isGenuine, let body = try? JSONDecoder().decode(Checkpoint.Body.self, from: checkpoint.body) else {
            report.add(.checkpoint, n: number, "The signature of checkpoint \(number) is not genuine.")
            return
        }
        if body.number != number { report.add(.checkpoint, n: number, "Checkpoint \(number) was signed as number \(body.number).") }
        if number == expected, body.previous != last?.digest.hex ?? "" {
            report.add(.checkpoint, n: number, "Checkpoint \(number) does not follow from the one before.")
        }
        if !trusted.isEmpty, !trusted.contains(checkpoint.publicKey) {
            report.add(.checkpoint, n: number, "Checkpoint \(number) is signed with a key that the anchor does not know.")
        }
    }
}
