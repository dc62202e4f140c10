import Core
import Foundation
import Postgres

/// Checks the checkpoints themselves, against each other and against an anchor.
struct CheckpointCheck {
    let anchor: AuditAnchor?

    /// - Returns: the heads that were signed, with those of the anchor.
    func run(_ connection: PostgresConnection, _ report: inout AuditReport) async throws -> [UUID: [Int64: ChainWalk.SignedHead]] {
        var heads: [UUID: [Int64: ChainWalk.SignedHead]] = [:]
        var anchored = Dictionary((anchor?.checkpoints ?? []).map { ($0.number, $0) }, uniquingKeysWith: { first, _ in first })
        let trusted = Set((anchor?.checkpoints ?? []).map(\.publicKey))
        // The anchor's own word goes first: what it signed counts even where the database says otherwise.
        for checkpoint in anchored.values { add(checkpoint, &heads) }
        var last: Checkpoint?
        while true {
            let page = try await AuditStore.checkpoints(connection, after: last?.number, limit: 500, newestFirst: false)
            if page.isEmpty { break }
            for checkpoint in page {
                check(checkpoint, after: last, trusted, &report)
                if let known = anchored.removeValue(forKey: checkpoint.number),
                    known.body != checkpoint.body || known.signature != checkpoint.signature
                {
                    report.add(
                        .checkpoint, n: checkpoint.number,
                        "Checkpoint \(checkpoint.number) is not the one in the anchor: it was signed anew.")
                } else {
                    add(checkpoint, &heads)
                }
                last = checkpoint
                report.checkpoints += 1
            }
        }
        for number in anchored.keys.sorted() {
            report.add(.checkpoint, n: number, "Checkpoint \(number) of the anchor is missing from the database.")
        }
        report.lastCheckpoint = last
        return heads
    }

    private func add(_ checkpoint: Checkpoint, _ heads: inout [UUID: [Int64: ChainWalk.SignedHead]]) {
        for head in checkpoint.heads where heads[head.chain]?[head.n] == nil {
            heads[head.chain, default: [:]][head.n] = .init(link: head.link, checkpoint: checkpoint.number)
        }
    }

    private func check(_ checkpoint: Checkpoint, after last: Checkpoint?, _ trusted: Set<Data>, _ report: inout AuditReport) {
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
