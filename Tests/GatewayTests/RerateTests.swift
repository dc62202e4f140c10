import Core
import Foundation
import ModelAPI
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct RerateTests {
    private static let doubled = PriceClasses(
        input: .init(2_000_000), cacheRead: .init(200_000), cacheWrite5m: .init(2_000_000), cacheWrite1h: .init(2_000_000),
        output: .init(20_000_000))

    /// Makes calls, then lets the price have been twice as high since an hour ago.
    private func withCalls(_ count: Int, _ body: @escaping @Sendable (Stage, Gateway, Principal) async throws -> Void) async throws
    {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                for _ in 0..<count { _ = await gateway.call(stage.call(Stage.messages())).text() }
                try await eventually { try await stage.count("ai_ledger") == count }
                try await gateway.prices.set(
                    admin,
                    .init(
                        type: .anthropic, model: Stage.model, prices: Self.doubled, validFrom: Date(timeIntervalSinceNow: -3600)))
                try await body(stage, gateway, admin)
            }
        }
    }

    private static var hour: (Date, Date) { (Date(timeIntervalSinceNow: -3000), Date(timeIntervalSinceNow: 60)) }

    @Test func `a dry run says what would be corrected and writes nothing`() async throws {
        try await withCalls(2) { stage, gateway, admin in
            let report = try await gateway.rerating.rerate(admin, .init(from: Self.hour.0, to: Self.hour.1))
            #expect(report.lines.count == 1 && report.lines[0].calls == 2 && report.lines[0].differing == 2)
            #expect(report.lines[0].before == NanoDollars(120_000) && report.lines[0].after == NanoDollars(240_000))
            #expect(report.amount == NanoDollars(120_000) && !report.isApplied)
            #expect(try await stage.count("ai_corrections") == 0)
            try await stage.expectSound(gateway)
        }
    }

    @Test func `corrections are rows of their own, in budgets and sums, on the audited record, and made once`() async throws {
        try await withCalls(3) { stage, gateway, admin in
            let request = RerateService.Request(from: Self.hour.0, to: Self.hour.1, isApplied: true)
            let report = try await gateway.rerating.rerate(admin, request)
            #expect(report.differing == 3 && report.isApplied)
            // The ledger is as it was.
            #expect(try await stage.ledger().map(\.cost) == Array(repeating: NanoDollars(60_000), count: 3))
            #expect(
                try await stage.count("ai_corrections", "cost_before = 60000 AND cost_after = 120000 AND amount = 60000 AND n = 1")
                    == 3)
            #expect(try await stage.count("audit_entries", "kind = 'correction'") == 3)
            #expect(try await stage.count("audit_facts", "kind = 'ledger.rerated'") == 1)
            #expect(try await gateway.budgets.show(stage.user, user: stage.user.user).spent == NanoDollars(360_000))
            #expect(try await gateway.spend.usage(.own(stage.user)).lines.map(\.cost) == [NanoDollars(360_000)])
            let calls = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest(limit: 10, after: nil))
            #expect(calls.items.map(\.cost) == Array(repeating: NanoDollars(120_000), count: 3))
            try await stage.expectSound(gateway)
            // Again: nothing differs any more.
            #expect(try await gateway.rerating.rerate(admin, request).differing == 0)
            #expect(try await stage.count("ai_corrections") == 3)
            // Back to the list price: a second correction of each, which begins where the first one ended.
            try await gateway.prices.set(
                admin,
                .init(
                    type: .anthropic, model: Stage.model, prices: Stage.price, validFrom: Date(timeIntervalSinceNow: -3500),
                    isReplacing: true))
            #expect(try await gateway.rerating.rerate(admin, request).amount == NanoDollars(-180_000))
            #expect(try await stage.count("ai_corrections", "n = 2 AND cost_before = 120000 AND cost_after = 60000") == 3)
            #expect(try await gateway.budgets.show(stage.user, user: stage.user.user).spent == NanoDollars(180_000))
            try await stage.expectSound(gateway)
        }
    }

    @Test func `only calls of the period and the model are corrected, and two at once correct nothing twice`() async throws {
        try await withCalls(2) { stage, gateway, admin in
            let past = RerateService.Request(
                from: Date(timeIntervalSinceNow: -7200), to: Date(timeIntervalSinceNow: -3600), isApplied: true)
            #expect(try await gateway.rerating.rerate(admin, past).lines == [])
            let other = RerateService.Request(from: Self.hour.0, to: Self.hour.1, model: "other", isApplied: true)
            #expect(try await gateway.rerating.rerate(admin, other).lines == [])
            let all = RerateService.Request(from: Self.hour.0, to: Self.hour.1, isApplied: true)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    // One of two that meet may be told so.
                    group.addTask { _ = try? await gateway.rerating.rerate(admin, all) }
                }
            }
            #expect(try await stage.count("ai_corrections") == 2)
            try await stage.expectSound(gateway)
        }
    }

    @Test func `a changed, removed or added correction is named by the verifier`() async throws {
        for (change, part) in [
            ("UPDATE ai_corrections SET cost_after = cost_after + 1", "was changed"),
            ("UPDATE ai_corrections SET user_id = gen_random_uuid()", "was changed"), ("DELETE FROM ai_corrections", "is missing"),
            (
                """
                INSERT INTO ai_corrections (interception_id, attempt, n, run_id, organization_id, actor_id, user_id, budget_ids, provider,
                                            model, cost_before, cost_after, price_id, at)
                SELECT interception_id, attempt, 2, run_id, organization_id, actor_id, user_id, budget_ids, provider, model, cost_after, 1,
                       price_id, at FROM ai_corrections
                """, "has no audit entry"
            ),
        ] {
            try await withCalls(1) { stage, gateway, admin in
                _ = try await gateway.rerating.rerate(admin, .init(from: Self.hour.0, to: Self.hour.1, isApplied: true))
                try await stage.pool.execute("\(unsafeSQL: change)")
                let problems = try await gateway.audit.verify().problems.map(\.message)
                #expect(problems.contains { $0.contains("correction") && $0.contains(part) }, "\(change): \(problems)")
            }
        }
    }

    @Test func `a call is priced by the service that the provider reports, and the ledger says it`() async throws {
        let answer = Upstream.message(extra: #","service_tier":"priority""#)
        try await Stage.with(Upstream.bytes(Upstream.head(length: answer.utf8.count), answer)) { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                var change = PriceService.Change(type: .anthropic, model: Stage.model, prices: Stage.price)
                change.services[.priority] = PriceTable(standard: Self.doubled)
                try await gateway.prices.set(admin, change)
                _ = await gateway.call(stage.call(Stage.messages())).text()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.cost == NanoDollars(120_000) && line.overrun == .zero)
                #expect(try await stage.count("ai_ledger", "service_tier = 'priority'") == 1)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `prices of intervals that overlap are refused, and with replacing the old one is withdrawn and kept on record`()
        async throws
    {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                func set(_ from: Double, _ to: Double? = nil, replacing: Bool = false) async throws {
                    try await gateway.prices.set(
                        admin,
                        .init(
                            type: .openai, model: "m", prices: Stage.price, validFrom: Date(timeIntervalSince1970: from),
                            validTo: to.map { Date(timeIntervalSince1970: $0) }, isReplacing: replacing))
                }
                try await set(1_000_000)
                try await set(2_000_000)
                let error = await #expect(throws: AppError.self) { try await set(1_500_000) }
                #expect(error?.code == .conflict)
                try await set(1_500_000, replacing: true)
                #expect(try await stage.count("ai_price_withdrawals") == 2)
                #expect(try await stage.count("ai_prices", "model = 'm'") == 4)
                // What was withdrawn comes back when it is set again.
                try await set(2_000_000)
                #expect(try await stage.count("ai_price_withdrawals") == 1)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `an import writes what differs, below custom prices, and says the same again when nothing does`() async throws {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                let file = Data(
                    #"{"\#(Stage.model)":{"litellm_provider":"openai","input_cost_per_token":2e-06,"output_cost_per_token":2e-05,"max_input_tokens":200000,"max_output_tokens":4000}}"#
                        .utf8)
                func cost() throws -> Int64? {
                    try gateway.settings.current().prices.price(
                        of: Stage.model, type: .openai, organization: Stage.organization, at: Date())?.standard.input.value
                }
                let dry = try await gateway.prices.importing(admin, file, .init(format: .litellm, isDry: true))
                #expect(dry.lines.map(\.outcome) == [.changed])
                #expect(try cost() == 1_000_000)
                _ = try await gateway.prices.importing(admin, file, .init(format: .litellm))
                #expect(try cost() == 2_000_000)
                #expect(try await gateway.prices.importing(admin, file, .init(format: .litellm)).lines.map(\.outcome) == [.same])
                #expect(try await stage.count("audit_facts", "kind = 'price.imported'") == 1)
                try await gateway.prices.set(admin, .init(type: .openai, model: Stage.model, prices: Stage.price))
                #expect(try cost() == 1_000_000)
                let missing = await #expect(throws: AppError.self) {
                    _ = try await gateway.prices.importing(admin, file, .init(format: .litellm, providerName: "nobody"))
                }
                #expect(missing?.code == .notFound)
                try await stage.expectSound(gateway)
            }
        }
    }
}
