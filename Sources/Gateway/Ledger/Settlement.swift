import AuditProof
import Core
import Crypto
import Foundation
import ModelAPI

/// How a call ended and what it cost: becomes one ledger row and replaces the hold. A class: it goes through the queues of the batches,
/// and has dozens of fields.
final class Settlement: Sendable {
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

    let interception: InterceptionID
    let attempt: Int
    let organization: OrganizationID
    let user: UserID
    let budgets: [Int64]
    /// The counters of limits that it is in.
    let counters: [Int64]
    let hold: NanoDollars
    let provider: String
    let model: String
    let price: String
    let state: State
    let usage: Usage
    let cost: NanoDollars
    let answerHash: Data
    let answerSize: Int
    let toolsHash: Data
    let ending: Ending
    /// Nil: nothing came, or it is not known.
    let firstToken: Duration?
    /// All of them, when there was more than one.
    let attempts: [AttemptLine]
    let findings: [ContentFinding]
    let booking: Booking?

    init(
        interception: InterceptionID, attempt: Int = 1, organization: OrganizationID, user: UserID, budgets: [Int64],
        counters: [Int64] = [], hold: NanoDollars, provider: String, model: String, price: String, state: State, usage: Usage,
        cost: NanoDollars, answerHash: Data, answerSize: Int, toolsHash: Data, ending: Ending, firstToken: Duration? = nil,
        attempts: [AttemptLine] = [],
        findings: [ContentFinding] = [], booking: Booking? = nil
    ) {
        self.interception = interception
        self.attempt = attempt
        self.organization = organization
        self.user = user
        self.budgets = budgets
        self.counters = counters
        self.hold = hold
        self.provider = provider
        self.model = model
        self.price = price
        self.state = state
        self.usage = usage
        self.cost = cost
        self.answerHash = answerHash
        self.answerSize = answerSize
        self.toolsHash = toolsHash
        self.ending = ending
        self.firstToken = firstToken
        self.attempts = attempts
        self.findings = findings
        self.booking = booking
    }

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
    convenience init(neverSent interception: NewInterception, _ found: HoldDoubts.Found) {
        self.init(
            interception: interception.id, organization: interception.organization, user: interception.initiator,
            budgets: found.budgets, counters: found.counters, hold: found.amount, provider: interception.providerName,
            model: interception.model,
            price: interception.price ?? "", state: .final, usage: Usage(), cost: .zero, answerHash: Content.emptyHash,
            answerSize: 0, toolsHash: Content.emptyHash,
            ending: .init(status: .failed, error: "never sent: the database did not confirm the hold in time"))
    }

    /// The same with what there is of the answer.
    func with(partial answer: Data) -> Settlement {
        Settlement(
            interception: interception, attempt: attempt, organization: organization, user: user, budgets: budgets,
            counters: counters, hold: hold, provider: provider, model: model, price: price, state: state, usage: usage, cost: cost,
            answerHash: Data(SHA256.hash(data: answer)), answerSize: answer.count, toolsHash: toolsHash, ending: ending,
            firstToken: firstToken, attempts: attempts, findings: findings, booking: booking)
    }
}
