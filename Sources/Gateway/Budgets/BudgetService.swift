import Core
import Postgres

/// A user's budget of the month (UTC, by the database's clock).
package struct Budget: Sendable, Equatable {
    package var user: UserID
    package var username: String
    /// E.g. `2026-11`.
    package var period: String
    /// Nil: no limit.
    package var cap: NanoDollars?
    package var spent: NanoDollars
    /// Taken by calls under way.
    package var held: NanoDollars
}

/// Sets and shows budgets. A new cap counts from the next call on; one below what is spent stops new calls.
package struct BudgetService: Sendable {
    let store: BudgetStore
    let rules: BudgetRuleStore
    let alerted: BudgetAlertStore
    let settings: SettingsCache
    let facts: AuditFacts

    init(pool: PostgresPool, settings: SettingsCache, facts: AuditFacts) {
        store = BudgetStore(pool: pool)
        rules = BudgetRuleStore(pool: pool)
        alerted = BudgetAlertStore(pool: pool)
        self.settings = settings
        self.facts = facts
    }

    /// The highest cap of a period: a million dollars.
    package static let highestCap = NanoDollars(1_000_000_000_000_000)

    /// - Parameter cap: nil removes the limit.
    /// - Throws: `notFound`, `badRequest`.
    @discardableResult
    package func set(_ principal: Principal, user: UserID, cap: NanoDollars?) async throws -> Budget {
        if let cap, cap < .zero || cap > Self.highestCap {
            throw AppError(
                .badRequest, "The cap is \(cap); it must be from $0.00 to \(Self.highestCap) a month.", field: "cap_nano_dollars")
        }
        let fact = try AuditFacts.Fact(
            principal, kind: "budget.set", subject: user.description, ["cap_nano_dollars": cap.map { "\($0.value)" } ?? "none"])
        try await facts.record { [store] connection in
            guard try await store.setCap(principal.organization, user, cap, connection) else { throw Self.missing(user) }
            return ((), [fact])
        }
        return try await show(principal, user: user)
    }

    package func show(_ principal: Principal, user: UserID) async throws -> Budget {
        guard let budget = try await store.current(principal.organization, user: user).first else { throw Self.missing(user) }
        return budget
    }

    package func list(_ principal: Principal) async throws -> [Budget] {
        try await store.current(principal.organization, user: nil)
    }

    private static func missing(_ user: UserID) -> AppError { AppError(.notFound, "There is no user \(user).", field: "user") }
}
