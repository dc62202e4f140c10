import Core
import Foundation
import Postgres

/// Re-derives every digest from the live rows, in one snapshot of the database, and names whatever is not as it was recorded.
///
/// It sees every change, removal, insertion and reordering up to the last checkpoint; with an anchor also checkpoints that were
/// removed or signed anew. What was never checkpointed and is removed from the end of a chain together with its rows leaves no trace.
struct AuditVerifier {
    let pool: PostgresPool
    let contents: ContentStore
    let anchor: AuditAnchor?

    private static let pageSize = 1000

    func run() async throws -> AuditReport {
        try await pool.withTransaction { connection in
            try await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            var report = AuditReport()
            var walk = ChainWalk(heads: try await CheckpointCheck(anchor: anchor).run(connection, &report))
            let facts = FactCheck(connection: connection)
            while true {
                let page = try await connection.query(
                    """
                    SELECT chain, n, prev, digest, kind, subject, at FROM audit_entries
                    WHERE (chain, n) > (\(walk.place.chain), \(walk.place.n)) ORDER BY chain, n LIMIT \(Self.pageSize)
                    """
                ).map { try AuditLink($0) }
                if page.isEmpty { break }
                walk.walk(page, &report)
                try await facts.check(page, &report)
            }
            walk.finish(&report)
            try await facts.checkUnrecorded(&report)
            try await facts.checkPrices(&report)
            try await facts.checkBudgets(&report)
            try await facts.checkCorrections(&report)
            try await IdentityCheck(connection: connection).run(&report)
            try await PolicyCheck(connection: connection).run(&report)
            try await ContentCheck(connection: connection).run(&report)
            return report
        }
    }
}

/// Follows the links of all chains, entry by entry. A pure value.
struct ChainWalk {
    /// What checkpoints signed: the link of an entry, by chain and number.
    private let signed: [UUID: [Int64: SignedHead]]
    private(set) var place: (chain: UUID, n: Int64) = (UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0)
    private var link = AuditLink.origin
    private var seen: Set<UUID> = []

    struct SignedHead: Equatable {
        var link: String
        var checkpoint: Int64
    }

    init(heads: [UUID: [Int64: SignedHead]]) { signed = heads }

    /// - Parameter page: in order of chain and number, following on what was walked before.
    mutating func walk(_ page: [AuditLink], _ report: inout AuditReport) {
        for (index, entry) in page.enumerated() {
            if entry.chain != place.chain { begin(entry.chain, &report) }
            report.entries += 1
            if entry.n != place.n + 1 {
                let missing = entry.n == place.n + 2 ? "Entry \(place.n + 1) is" : "Entries \(place.n + 1) to \(entry.n - 1) are"
                report.add(.removed, chain: entry.chain, n: place.n + 1, "\(missing) missing from the chain.")
            } else if entry.prev != link {
                let expected = link
                if let other = page[(index + 1)...].first(where: { $0.chain == entry.chain && $0.prev == expected }) {
                    report.add(
                        .reordered, chain: entry.chain, n: entry.n, subject: entry.subject,
                        "Entry \(entry.n) is out of order: entry \(other.n) belongs here.")
                } else {
                    report.add(
                        .changed, chain: entry.chain, n: entry.n, subject: entry.subject,
                        "Entry \(entry.n) does not follow from entry \(entry.n - 1): one of them was changed or put in.")
                }
            }
            place = (entry.chain, entry.n)
            link = entry.link
            if let head = signed[entry.chain]?[entry.n], head.link != link.hex {
                report.add(
                    .changed, chain: entry.chain, n: entry.n, subject: entry.subject,
                    "Entry \(entry.n) is not the one that checkpoint \(head.checkpoint) signed.")
            }
        }
    }

    mutating func finish(_ report: inout AuditReport) {
        end(&report)
        for (chain, heads) in signed where !seen.contains(chain) {
            report.add(
                .removed, chain: chain, n: 1, "The whole chain is missing; \(heads.keys.max() ?? 0) of its entries were signed.")
        }
    }

    private mutating func begin(_ chain: UUID, _ report: inout AuditReport) {
        end(&report)
        place = (chain, 0)
        link = AuditLink.origin
        seen.insert(chain)
    }

    private func end(_ report: inout AuditReport) {
        guard place.n > 0 else { return }
        report.chains.append(.init(chain: place.chain, n: place.n, link: link.hex))
        if let last = signed[place.chain]?.keys.max(), last > place.n {
            report.add(
                .removed, chain: place.chain, n: place.n + 1,
                "The chain ends with entry \(place.n), but its entries up to \(last) were signed.")
        }
    }
}
