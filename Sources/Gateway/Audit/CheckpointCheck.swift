import AuditProof
import Core
import Foundation
import Postgres

/// Checks the checkpoints themselves, against each other and against an anchor.
struct CheckpointCheck {
    let anchor: AuditAnchor?

    /// - Returns: the heads that were signed, with those of the anchor.
    func run(_ connection: PostgresConnection, _ report: inout AuditReport) async throws -> [UUID: [Int64: ChainWalk.SignedHead]] {
        var walk = CheckpointWalk(anchor: anchor)
        while true {
            let page = try await AuditStore.checkpoints(connection, after: walk.last?.number, limit: 500, newestFirst: false)
            if page.isEmpty { break }
            for checkpoint in page { walk.walk(checkpoint, &report) }
        }
        walk.finish(&report)
        return walk.heads
    }
}
