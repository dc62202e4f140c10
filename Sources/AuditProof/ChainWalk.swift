import Foundation

/// Follows the links of all chains, entry by entry. A pure value.
package struct ChainWalk: Sendable {
    /// What checkpoints signed: the link of an entry, by chain and number.
    private let signed: [UUID: [Int64: SignedHead]]
    package private(set) var place: (chain: UUID, n: Int64) = (UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0)
    private var link = AuditLink.origin
    /// Numbers that were passed over: entries that are missing, or that come later, out of order.
    private var gaps: [ClosedRange<Int64>] = []
    /// Where the chains before this one stood.
    private var left: [UUID: (n: Int64, link: Data, gaps: [ClosedRange<Int64>])] = [:]
    private var order: [UUID] = []

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
            if entry.n <= place.n {
                late(entry, &report)
                check(entry, &report)
                continue
            }
            if entry.n != place.n + 1 {
                skip(place.n + 1...entry.n - 1, &report)
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
            check(entry, &report)
        }
    }

    package mutating func finish(_ report: inout AuditReport) {
        leave()
        for chain in order { end(chain, &report) }
        for (chain, heads) in signed where left[chain] == nil {
            report.add(
                .removed, chain: chain, n: 1, "The whole chain is missing; \(heads.keys.max() ?? 0) of its entries were signed.")
        }
    }

    private func check(_ entry: AuditLink, _ report: inout AuditReport) {
        guard let head = signed[entry.chain]?[entry.n], head.link != entry.link.hex else { return }
        report.add(
            .changed, chain: entry.chain, n: entry.n, subject: entry.subject,
            "Entry \(entry.n) is not the one that checkpoint \(head.checkpoint) signed.")
    }

    // MARK: What is not in its place

    /// Only when the chain has ended it is known that they do not come any more; of very many gaps it is not waited for.
    private mutating func skip(_ numbers: ClosedRange<Int64>, _ report: inout AuditReport) {
        if gaps.count < 1000 { gaps.append(numbers) } else { missing(numbers, place.chain, &report) }
    }

    private func missing(_ numbers: ClosedRange<Int64>, _ chain: UUID, _ report: inout AuditReport) {
        let (first, last) = (numbers.lowerBound, numbers.upperBound)
        let entries = first == last ? "Entry \(first) is" : "Entries \(first) to \(last) are"
        report.add(.removed, chain: chain, n: first, "\(entries) missing from the chain.")
    }

    private mutating func late(_ entry: AuditLink, _ report: inout AuditReport) {
        guard let index = gaps.firstIndex(where: { $0.contains(entry.n) }) else {
            return report.add(
                .inserted, chain: entry.chain, n: entry.n, subject: entry.subject, "Entry \(entry.n) is there twice.")
        }
        let gap = gaps.remove(at: index)
        if gap.lowerBound < entry.n { gaps.append(gap.lowerBound...entry.n - 1) }
        if entry.n < gap.upperBound { gaps.append(entry.n + 1...gap.upperBound) }
        report.add(
            .reordered, chain: entry.chain, n: entry.n, subject: entry.subject,
            "Entry \(entry.n) is out of order: it stands after entry \(place.n).")
    }

    // MARK: From chain to chain

    private mutating func begin(_ chain: UUID, _ report: inout AuditReport) {
        leave()
        if let before = left[chain] {
            report.add(
                .reordered, chain: chain, n: before.n,
                "Entries of the chain stand among those of another one, after entry \(before.n).")
        } else {
            order.append(chain)
        }
        let state = left[chain] ?? (0, AuditLink.origin, [])
        (place, link, gaps) = ((chain, state.n), state.link, state.gaps)
    }

    private mutating func leave() { if place.n > 0 { left[place.chain] = (place.n, link, gaps) } }

    private func end(_ chain: UUID, _ report: inout AuditReport) {
        guard let state = left[chain] else { return }
        for gap in state.gaps.sorted(by: { $0.lowerBound < $1.lowerBound }) { missing(gap, chain, &report) }
        report.chains.append(.init(chain: chain, n: state.n, link: state.link.hex))
        if let last = signed[chain]?.keys.max(), last > state.n {
            report.add(
                .removed, chain: chain, n: state.n + 1,
                "The chain ends with entry \(state.n), but its entries up to \(last) were signed.")
        }
    }
}
