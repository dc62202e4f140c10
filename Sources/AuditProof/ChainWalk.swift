import Foundation

/// Follows the links of all chains, entry by entry. A pure value.
package struct ChainWalk: Sendable {
    /// What checkpoints signed: the link of an entry, by chain and number.
    private let signed: [UUID: [Int64: SignedHead]]
    package private(set) var place: (chain: UUID, n: Int64) = (UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0)
    private var link = AuditLink.origin
    private var seen: Set<UUID> = []

    package struct SignedHead: Equatable, Sendable {
        package var link: String
        package var checkpoint: Int64

        package init(link: String, checkpoint: Int64) {
            self.link = link
            self.checkpoint = checkpoint
        }
    }

    package init(heads: [UUID: [Int64: SignedHead]]) { signed = heads }

    /// - Parameter page: in order of chain and number, following on what was walked before.
    package mutating func walk(_ page: [AuditLink], _ report: inout AuditReport) {
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

    package mutating func finish(_ report: inout AuditReport) {
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
