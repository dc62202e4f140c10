import AuditProof
import Core
import Foundation
import ModelAPI

/// What a call would have cost by the book as it is now. A pure rule.
struct Rerating: Sendable {
    /// A ledger row with what its call costs so far, corrections included.
    struct Charge: Sendable, Equatable {
        var interception: InterceptionID
        var attempt: Int
        /// How many corrections it has.
        var corrections: Int
        var organization: OrganizationID
        var user: UserID
        var budgets: [Int64]
        /// The provider's name, and the type whose price was taken.
        var provider: String
        var type: ProviderType
        /// As the ledger has it, and as the price was looked up.
        var model: String
        var pricedModel: String
        var startedAt: Date
        var usage: Usage
        var cost: NanoDollars
        /// Everything that was held was booked, since nobody knows what was used.
        var isUnknown: Bool
    }

    enum Outcome: Sendable, Equatable {
        case same
        case corrected(NanoDollars, price: String)
        /// The book has no price for that model at that time any more.
        case unpriced
        /// There is nothing to calculate from.
        case unknown
    }

    let book: PriceBook
    /// Of which types a provider's prices are, in order, by its name: a provider may have got a price of its own type since.
    var types: [String: [ProviderType]] = [:]

    /// The price at the time of the call counts, by the classes and the service that the ledger has.
    func outcome(_ charge: Charge) -> Outcome {
        if charge.isUnknown { return .unknown }
        let types = types[charge.provider] ?? [charge.type]
        let found = types.lazy.compactMap {
            book.price(
                of: charge.pricedModel, type: $0, named: charge.provider, organization: charge.organization, at: charge.startedAt)
        }
        guard let price = found.first else { return .unpriced }
        let cost = price.cost(of: charge.usage)
        return cost == charge.cost ? .same : .corrected(cost, price: price.id)
    }
}

/// One row of `ai_corrections`.
struct Correction: Sendable, Equatable {
    var interception: InterceptionID
    var attempt: Int
    /// From 1 on, for each ledger row.
    var n: Int
    /// Of re-rating; of a late settlement, the call's own id.
    var run: UUID
    var organization: OrganizationID
    var actor: UserID
    /// As the ledger's row has them, like what follows.
    var user: UserID
    var budgets: [Int64]
    var provider: String
    var model: String
    var costBefore: NanoDollars
    var costAfter: NanoDollars
    var price: String

    var subject: String { "\(interception)/\(attempt)/\(n)" }

    func digest(at: Int64) -> Data {
        Self.canonical(
            interception: interception, attempt: attempt, n: n, run: run, organization: organization, actor: actor, user: user,
            budgets: budgets, provider: provider, model: model, before: costBefore, after: costAfter, price: price, at: at
        ).digest
    }

    static func canonical(
        interception: InterceptionID, attempt: Int, n: Int, run: UUID, organization: OrganizationID, actor: UserID, user: UserID,
        budgets: [Int64], provider: String, model: String, before: NanoDollars, after: NanoDollars, price: String, at: Int64
    ) -> Canonical {
        var canonical = Canonical("correction-1")
        canonical.add(interception)
        canonical.add(attempt)
        canonical.add(n)
        canonical.add(run)
        canonical.add(organization)
        canonical.add(actor)
        canonical.add(user)
        canonical.add(budgets)
        canonical.add(provider)
        canonical.add(model)
        canonical.add(before.value)
        canonical.add(after.value)
        canonical.add(price)
        canonical.add(at)
        return canonical
    }
}

extension Correction {
    init(charge: Rerating.Charge, run: UUID, actor: UserID, costAfter: NanoDollars, price: String) {
        self.init(
            interception: charge.interception, attempt: charge.attempt, n: charge.corrections + 1, run: run,
            organization: charge.organization, actor: actor, user: charge.user, budgets: charge.budgets, provider: charge.provider,
            model: charge.model, costBefore: charge.cost, costAfter: costAfter, price: price)
    }
}
