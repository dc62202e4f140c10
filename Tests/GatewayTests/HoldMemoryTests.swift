import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// Batches of holds that do not look at budgets first, since they did a moment ago.
@Suite struct HoldMemoryTests {
    private struct Scene {
        var stage: Stage
        var gateway: Gateway
        let memory = HoldMemory()

        func request() throws -> HoldLoop.Request { try stage.request(gateway.configuration.replica) }

        func take(_ batch: [HoldLoop.Request]) async throws -> [Result<HoldLoop.Grant, any Error>] {
            try await HoldTransaction(
                pool: stage.pool, chain: gateway.calls, alerts: gateway.alerts, memory: memory, batch: batch
            ).run()
        }

        /// Takes one, remembered or not.
        func takeOne(_ isRemembered: Bool) async throws -> Result<HoldLoop.Grant, any Error> {
            let batch = [try request()]
            #expect((memory.locks(for: batch) != nil) == isRemembered)
            return try await take(batch)[0]
        }

        var held: NanoDollars {
            get async throws { try await stage.pool.query("SELECT held FROM ai_budgets ORDER BY period DESC LIMIT 1")[0]["held"] }
        }
    }

    private func scene(cap: String = "1", _ body: (Scene) async throws -> Void) async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.setCap(cap, gateway)
                let scene = Scene(stage: stage, gateway: gateway)
                try await body(scene)
                #expect(try await gateway.audit.verify().problems == [])
            }
        }
    }

    @Test func `what fits by far is held without a look, like what is looked at`() async throws {
        try await scene { scene in
            let looked = try await scene.takeOne(false).get()
            let remembered = try await scene.takeOne(true).get()
            #expect(remembered.budgets == looked.budgets && remembered.amount == looked.amount)
            let held = try await scene.held
            #expect(held == looked.amount + remembered.amount)
            #expect(
                try await scene.stage.count(
                    "ai_interceptions", "started_at BETWEEN now() - interval '1 minute' AND now()") == 2)
        }
    }

    @Test func `what others took, or a cap that was lowered, is seen by the taking itself`() async throws {
        try await scene { scene in
            let one = try await scene.takeOne(false).get().amount
            for change: Query in ["UPDATE ai_budgets SET spent = 999999999", "UPDATE ai_budget_caps SET cap = 0"] {
                try await scene.stage.pool.execute("UPDATE ai_budgets SET spent = 0")
                _ = try await scene.take([scene.request()])[0].get()
                try await scene.stage.pool.execute(change)
                let before = try await scene.held
                let error = await #expect(throws: AppError.self) { try await scene.takeOne(true).get() }
                #expect(error?.code == .budgetExceeded)
                #expect(try await scene.held == before)
                // What failed is not remembered; the next one has looked.
                #expect(scene.memory.locks(for: [try scene.request()]) == nil)
            }
            #expect(try await scene.stage.count("ai_holds") == 3 && one > .zero)
            try await scene.stage.pool.execute("UPDATE ai_budgets SET spent = 0")
        }
    }

    @Test func `in a new month the budget of the last one is not taken from`() async throws {
        try await scene { scene in
            let old = try await scene.takeOne(false).get()
            try await scene.stage.pool.execute("UPDATE ai_budgets SET period = period - interval '1 month'")
            let new = try await scene.takeOne(true).get()
            #expect(new.budgets != old.budgets)
            #expect(try await scene.held == new.amount)
        }
    }

    @Test func `calls that need more than their user's month are looked at`() async throws {
        try await scene(cap: "0.1") { scene in
            _ = try await scene.takeOne(false).get()
            let plain = try scene.request()
            #expect(scene.memory.locks(for: [plain]) != nil)
            let other = try await Stage.makeUser(scene.stage.pool, "bob")
            let replica = scene.gateway.configuration.replica
            let stranger = try scene.stage.request(replica, as: other)
            let calling = try scene.stage.request(replica, toolCall: "call_1")
            let limited = HoldLoop.Request(
                interception: plain.interception, demand: plain.demand,
                uses: [RateUse(limit: UUID(), subject: UUID(), hasConcurrency: false)])
            let refused = HoldLoop.Request(interception: plain.interception, demand: nil)
            for request in [stranger, calling, limited, refused] { #expect(scene.memory.locks(for: [plain, request]) == nil) }
            // Near the end nothing is guessed.
            #expect(scene.memory.locks(for: Array(repeating: plain, count: 10)) != nil)
            #expect(scene.memory.locks(for: Array(repeating: plain, count: 13)) == nil)
            scene.memory.forget()
            #expect(scene.memory.locks(for: [plain]) == nil)
        }
    }

    @Test func `two servers that remember take a budget to its end and not beyond`() async throws {
        let release = TestSupport.Signal()
        let answer = Upstream.message()
        try await Stage.with(
            maxConnections: 16,
            { connection in
                while try await connection.request() != nil {
                    await release.wait()
                    try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                }
            }
        ) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    try await stage.setCap("0.5", one)
                    let statuses = NIOLockedValueBox<[Int]>([])
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for index in 0..<120 {
                            let gateway = index % 2 == 0 ? one : two
                            group.addTask {
                                let answer = await gateway.call(stage.call(Stage.messages()))
                                statuses.withLockedValue { $0.append(answer.status) }
                                _ = await answer.text()
                            }
                        }
                        // Those that got nothing are back.
                        try await eventually {
                            let over = try await stage.count("ai_budgets", "spent + held > 500000000")
                            #expect(over == 0)
                            return try await stage.count("ai_holds") + statuses.withLockedValue { $0.count } == 120
                        }
                        release.fire()
                        try await group.waitForAll()
                    }
                    await one.settle.idle()
                    await two.settle.idle()
                    let hold = try #require(try await stage.ledger().first?.hold.value)
                    let granted = Int(500_000_000 / hold)
                    let all = statuses.withLockedValue { Dictionary(grouping: $0) { $0 }.mapValues(\.count) }
                    #expect(granted > 40 && all == [200: granted, 402: 120 - granted])
                    await one.drain(grace: .seconds(5))
                    await two.drain(grace: .seconds(5))
                    try await stage.expectSound(one)
                }
            }
        }
    }
}
