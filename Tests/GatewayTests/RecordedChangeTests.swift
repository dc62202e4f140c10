import Core
import Foundation
import TestSupport
import Testing

@testable import Gateway

/// What admins change is on record with the change or not at all.
@Suite struct RecordedChangeTests {
    private static let tables = [
        "ai_providers", "ai_provider_keys", "ai_model_policies", "ai_policy_versions", "ai_prices", "ai_budget_caps", "audit_facts",
    ]

    /// The rows as they are, by table.
    private func rows(_ stage: Stage) async throws -> [String: String] {
        var rows: [String: String] = [:]
        for table in Self.tables {
            rows[table] = try await stage.pool.query(
                "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') AS all FROM \(unsafeSQL: table) t")[0]["all"]
        }
        return rows
    }

    private typealias Change = (name: String, kind: String, make: @Sendable (Gateway, Principal) async throws -> Void)

    private static let prices = PriceService.Change(type: .anthropic, model: "m", prices: Stage.price)
    private static let changes: [Change] = [
        (
            "a provider is made", "provider.create",
            { gateway, admin in
                _ = try await gateway.providers.create(
                    admin, name: "new", type: .anthropic, .init(baseURL: "https://example.com", keys: [Secret("sk-one-two-three")]))
            }
        ),
        (
            "a provider is changed", "provider.update",
            { gateway, admin in
                _ = try await gateway.providers.update(
                    admin, name: "old", .init(keys: [Secret("sk-four-five-six")], isEnabled: false))
            }
        ),
        ("a provider is removed", "provider.delete", { try await $0.providers.delete($1, name: "old") }),
        (
            "a policy is made", "policy.put",
            { try await $0.modelPolicies.put($1, name: "p", models: ["*"], roles: [.member], users: []) }
        ),
        ("a policy is removed", "policy.delete", { try await $0.modelPolicies.delete($1, name: "q") }),
        (
            "a policy as code is put", "policy.put",
            { _ = try await $0.policies.put($1, name: "code", source: "{name: code, default: next, rules: []}") }
        ),
        ("a policy as code is deleted", "policy.delete", { try await $0.policies.delete($1, name: "code") }),
        ("a price is set", "price.set", { try await $0.prices.set($1, prices) }),
        ("a budget is set", "budget.set", { try await $0.budgets.set($1, user: $1.user, cap: NanoDollars(5)) }),
        ("a limit is lifted", "budget.set", { try await $0.budgets.set($1, user: $1.user, cap: nil) }),
    ]

    @Test func `a change that cannot be put on record is not made`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.providers.create(
                    stage.user, name: "old", type: .anthropic,
                    .init(baseURL: "https://example.com", keys: [Secret("sk-old-old-old")]))
                try await gateway.modelPolicies.put(stage.user, name: "q", models: ["*"], roles: [], users: [])
                try await gateway.budgets.set(stage.user, user: stage.user.user, cap: NanoDollars(7))
                for change in Self.changes {
                    let before = try await rows(stage)
                    // Behind the change, where its fact is linked.
                    try await stage.pool.execute("ALTER TABLE audit_entries ADD CONSTRAINT is_full CHECK (false) NOT VALID")
                    await #expect(throws: (any Error).self, "\(change.name)") { try await change.make(gateway, stage.user) }
                    try await stage.pool.execute("ALTER TABLE audit_entries DROP CONSTRAINT is_full")
                    #expect(try await rows(stage) == before, "\(change.name)")
                    try await change.make(gateway, stage.user)
                    #expect(try await rows(stage) != before, "\(change.name)")
                    let last = try await stage.pool.query("SELECT kind FROM audit_facts ORDER BY at DESC LIMIT 1")[0]
                    #expect(try last["kind", as: String.self] == change.kind, "\(change.name)")
                }
            }
        }
    }
}
