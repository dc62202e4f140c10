import Foundation

/// What remains of what retention removed: enough for the chains and the budgets to hold.
package struct Tombstone: Sendable, Equatable, Codable {
    package enum What: String, Sendable, Codable { case content, interception, ledger, attempt }

    package var what: What
    /// As an audit entry names it; of content, the interception's id.
    package var subject: String
    package var budgets: [Int64]?
    package var cost: Int64?

    package init(_ what: What, _ subject: String, budgets: [Int64]? = nil, cost: Int64? = nil) {
        self.what = what
        self.subject = subject
        self.budgets = budgets
        self.cost = cost
    }

    /// What the fact of a batch holds of all its tombstones, in their order.
    package static func digest(_ tombstones: [Tombstone]) -> Data {
        var canonical = Canonical("tombstones-1")
        for stone in tombstones {
            canonical.add(stone.what.rawValue)
            canonical.add(stone.subject)
            canonical.add(stone.budgets ?? [])
            canonical.add(stone.cost)
        }
        return canonical.digest
    }
}
