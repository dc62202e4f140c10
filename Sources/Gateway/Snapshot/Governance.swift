import Core
import Postgres

/// Which budgets and limits apply to a call: read with the settings, looked up in memory. What they allow is the database's to say.
struct Governance: Sendable {
    var budgets = BudgetRules()
    var limits = RateLimits()

    static func read(_ connection: PostgresConnection) async throws -> Governance {
        Governance(
            budgets: try await BudgetRuleStore.rules(connection), limits: RateLimits(try await RateLimitStore.all(connection)))
    }
}
