import AuditProof
import Core
import Foundation
import ModelAPI

/// How a call ended and what it cost: becomes one ledger row and replaces the hold.
struct Settlement: Sendable {
    enum State: String, Sendable {
        /// As the provider reported it.
        case final
        /// The answer ended early: input as reported, output counted here.
        case estimated
        /// The client left, and the rest was read for its usage, which is as the provider reported it.
        case drained
        /// A replica died with the call open: everything that was held.
        case unknown
    }

    enum Status: String, Sendable { case completed, failed, cut, clientLeft = "client_left", unknown }

    /// How the call ended, as the interception tells it.
    struct Ending: Sendable, Equatable {
        var status: Status
        var httpStatus: Int?
        var error: String?
        var responseID: String?
        var stopReason: String?
    }

    var interception: InterceptionID
    var attempt = 1
    var organization: OrganizationID
    var user: UserID
    var budgets: [Int64]
    /// The counters of limits that it is in.
    var counters: [Int64] = []
    var hold: NanoDollars
    var provider: String
    var model: String
    var price: String
    var state: State
    var usage: Usage
    var cost: NanoDollars
    var answerHash: Data
    var answerSize: Int
    var toolsHash: Data
    var ending: Ending
    /// Nil: nothing came, or it is not known.
    var firstToken: Duration?
    /// All of them, when there was more than one.
    var attempts: [AttemptLine] = []
    var findings: [ContentFinding] = []
    var booking: Booking?

    func digest(at: Int64) -> Data {
        LedgerDigest.canonical(
            .init(
                interception: interception, attempt: attempt, organization: organization, user: user, budgets: budgets,
                provider: provider,
                model: model, state: state.rawValue, usage: usage, hold: hold.value, cost: cost.value, price: price,
                answerHash: answerHash, answerSize: Int64(answerSize), toolsHash: toolsHash, settledAt: at,
                status: ending.status.rawValue, httpStatus: ending.httpStatus, error: ending.error, responseID: ending.responseID,
                stopReason: ending.stopReason, firstToken: firstToken?.milliseconds)
        ).digest
    }

    var subject: String { "\(interception)/\(attempt)" }

    /// For limits; nil: not known, so that what was counted for the call stays counted.
    var countedTokens: Int64? {
        if state == .unknown { return nil }
        let classes = [usage.input, usage.cacheRead, usage.cacheWrite5m, usage.cacheWrite1h, usage.output]
        return classes.reduce(0) { min($0 + min(Int64($1), RateLimit.highest), RateLimit.highest) }
    }
}

/// The columns of a ledger row, and those that its interception gets when it is settled, in the order in which the digest takes them.
struct LedgerDigest {
    var interception: InterceptionID
    var attempt: Int
    var organization: OrganizationID
    var user: UserID
    var budgets: [Int64]
    var provider: String
    var model: String
    var state: String
    var usage: Usage
    var hold: Int64
    var cost: Int64
    var price: String
    var answerHash: Data
    var answerSize: Int64
    var toolsHash: Data
    var settledAt: Int64
    var status: String
    var httpStatus: Int?
    var error: String?
    var responseID: String?
    var stopReason: String?
    /// Milliseconds; nil for rows from before it was recorded, and then not in the digest.
    var firstToken: Int64?

    /// - Parameter form: of a row that has a tier and no time: it came later, and the first rows with one kept the name of those without.
    static func canonical(_ row: LedgerDigest, tiered form: String = "ledger-2") -> Canonical {
        var canonical = Canonical(row.firstToken != nil ? "ledger-3" : row.usage.serviceTier == nil ? "ledger-1" : form)
        canonical.add(row.interception)
        canonical.add(row.attempt)
        canonical.add(row.organization)
        canonical.add(row.user)
        canonical.add(row.budgets)
        canonical.add(row.provider)
        canonical.add(row.model)
        canonical.add(row.state)
        canonical.add(row.usage.input)
        canonical.add(row.usage.cacheRead)
        canonical.add(row.usage.cacheWrite5m)
        canonical.add(row.usage.cacheWrite1h)
        canonical.add(row.usage.output)
        canonical.add(row.usage.reasoning)
        canonical.add(row.usage.webSearches)
        canonical.add(row.usage.ttlUnknown)
        canonical.add(row.hold)
        canonical.add(row.cost)
        canonical.add(row.price)
        canonical.add(row.answerHash)
        canonical.add(row.answerSize)
        canonical.add(row.toolsHash)
        canonical.add(row.settledAt)
        canonical.add(row.status)
        canonical.add(row.httpStatus)
        canonical.add(row.error)
        canonical.add(row.responseID)
        canonical.add(row.stopReason)
        if let firstToken = row.firstToken {
            canonical.add(row.usage.serviceTier?.rawValue)
            canonical.add(firstToken)
        } else if let tier = row.usage.serviceTier {
            canonical.add(tier.rawValue)
        }
        return canonical
    }
}

extension Settlement {
    /// Of a call that was refused and never sent, and whose hold stands all the same: it costs nothing.
    init(neverSent interception: NewInterception, _ found: HoldDoubts.Found) {
        self.init(
            interception: interception.id, organization: interception.organization, user: interception.initiator,
            budgets: found.budgets, counters: found.counters, hold: found.amount, provider: interception.providerName,
            model: interception.model,
            price: interception.price ?? "", state: .final, usage: Usage(), cost: .zero, answerHash: Content.emptyHash,
            answerSize: 0, toolsHash: Content.emptyHash,
            ending: .init(status: .failed, error: "never sent: the database did not confirm the hold in time"))
    }
}
