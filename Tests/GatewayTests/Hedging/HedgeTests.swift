import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Calls that are sent twice, over real sockets.
@Suite struct HedgeTests {
    /// Answers each path's first part as it is told: properly, with an error, or when it is let go.
    private final class Upstreams: Sendable {
        struct Way: Sendable {
            /// Nil: at once.
            var release: TestSupport.Signal?
            var answer: (@Sendable (String) -> String)?
            /// Fires when the answer, which is never whole, was given up.
            var isLeft: TestSupport.Signal?
        }

        let ways: [String: Way]
        private let seen = NIOLockedValueBox<[(name: String, body: String)]>([])

        init(_ ways: [String: Way]) { self.ways = ways }

        var script: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let name = String(request.path.split(separator: "/").first ?? "")
                    let body = String(buffer: request.body)
                    let place = self.seen.withLockedValue { seen in
                        seen.append((name, body))
                        return seen.filter { $0.name == name }.count
                    }
                    // "alone" is slow the first time only.
                    let way = self.ways[name == "alone" && place > 1 ? "alone again" : name]
                    if let release = way?.release { await release.wait() }
                    try await connection.send(way?.answer?(body) ?? Self.proper(body, name))
                    guard let isLeft = way?.isLeft else { continue }
                    _ = try? await connection.request()
                    isLeft.fire()
                }
            }
        }

        static func proper(_ body: String, _ name: String) -> String {
            if body.contains("\"stream\": true") {
                return Upstream.head("text/event-stream") + Upstream.messageStream([name]).map(Upstream.chunk).joined()
                    + Upstream.lastChunk
            }
            let answer = Upstream.message(name)
            return Upstream.head(length: answer.utf8.count) + answer
        }

        static let overloaded: @Sendable (String) -> String = { _ in
            let body = #"{"type":"error","error":{"type":"overloaded_error","message":"of the provider itself"}}"#
            return Upstream.head(status: "529 Overloaded", length: body.utf8.count) + body
        }

        var names: [String] { seen.withLockedValue { $0.map(\.name) } }
    }

    private struct Scene {
        var stage: Stage
        var gateway: Gateway
        var upstreams: Upstreams
        var metrics: Metrics

        func call(_ prompt: String = "hi", stream: Bool = false, headers: [(name: String, value: String)] = []) -> GatewayCall {
            stage.call(Stage.messages(prompt, stream: stream, model: "fast"), provider: "auto", headers: headers)
        }

        func counted(_ provider: String, _ outcome: String) -> Bool {
            metrics.text().contains(
                "slipway_gateway_hedges_total{provider=\"\(provider)\",outcome=\"\(outcome)\"} 1")
        }

        /// What is booked, by the call that it was a second attempt at.
        func booked() async throws -> [(
            hedge: Bool, provider: String, state: String, status: String, cost: NanoDollars, error: String?
        )] {
            await gateway.settle.idle()
            return try await stage.pool.query(
                """
                SELECT i.hedge_of IS NOT NULL AS hedge, l.provider, l.state, i.status, l.cost, i.error
                FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id ORDER BY i.started_at, i.id
                """
            ).map {
                (
                    try $0["hedge"], try $0["provider"], try $0["state"], try $0["status"], try $0["cost"], try $0["error"]
                )
            }.sorted { !$0.0 && $1.0 }
        }

        /// The record is whole, and the budgets have spent what the rows say.
        func expectExact(_ location: SourceLocation = #_sourceLocation) async throws {
            await gateway.drain(grace: .seconds(5))
            try await stage.expectSound(gateway, location)
            let row = try await stage.pool.query(
                """
                SELECT (SELECT coalesce(sum(spent), 0)::bigint FROM ai_budgets) AS spent,
                       (SELECT coalesce(sum(cost), 0)::bigint FROM ai_ledger) AS booked
                """)[0]
            #expect(try row["spent", as: Int64.self] == row["booked", as: Int64.self], sourceLocation: location)
        }
    }

    private func scene(
        _ ways: [String: Upstreams.Way], targets: [String] = ["slow", "quick"], after: String = "20ms", samples: Int? = nil,
        share: Int = 100, cap: String = "5", _ body: (Scene) async throws -> Void
    ) async throws {
        let upstreams = Upstreams(ways)
        try await Stage.with(upstreams.script) { stage in
            let metrics = Metrics()
            let providers = targets.map { name in stage.provider(name, .anthropic, url: "\(stage.upstream)/\(name)") }
            try await stage.gateway(providers: providers, metrics: metrics) { gateway in
                try await stage.setCap(cap, gateway)
                _ = try await gateway.routes.put(
                    stage.user, name: "fast", targets: targets.map { "\($0)/test-model" },
                    hedge: HedgeRule(after: after, floorMilliseconds: 20, samples: samples, sharePercent: share))
                try await body(Scene(stage: stage, gateway: gateway, upstreams: upstreams, metrics: metrics))
            }
        }
    }

    @Test(arguments: [false, true])
    func `a silent target is overtaken by the next, and both are on record and booked`(isStream: Bool) async throws {
        let release = TestSupport.Signal()
        try await scene(["slow": .init(release: release)]) { scene in
            let call = scene.call(stream: isStream)
            let answer = await scene.gateway.call(call)
            #expect(answer.status == 200 && answer.header("x-slipway-target") == "quick/test-model")
            #expect(answer.header("x-slipway-attempts") == "2")
            #expect(answer.header("x-slipway-interception-id") == call.id.description)
            let expected = isStream ? Upstream.messageStream(["quick"]).joined() : Upstream.message("quick")
            #expect(await answer.text() == expected)
            #expect(scene.upstreams.names.sorted() == ["quick", "slow"])
            // The loser answers after all; nobody hears it.
            release.fire()
            let rows = try await scene.booked()
            #expect(rows.count == 2)
            #expect(rows[0].provider == "quick" && rows[0].state == "final" && rows[0].status == "completed")
            #expect(rows[0].cost == NanoDollars(60_000))
            // Nobody knows what it bills: its input is taken for used.
            #expect(rows[1].hedge && rows[1].provider == "slow" && rows[1].state == "estimated" && rows[1].status == "cut")
            #expect(rows[1].cost > .zero && rows[1].error == "the other attempt answered first")
            let attempts = try await scene.stage.pool.query(
                "SELECT interception_id, provider, http_status, error FROM ai_attempts ORDER BY attempt")
            #expect(try attempts.map { try $0["provider", as: String.self] } == ["slow", "quick"])
            #expect(try attempts.allSatisfy { try $0["interception_id"] == call.id })
            #expect(try attempts[0]["error"] == "the other attempt answered first")
            #expect(try attempts[1]["http_status"] == 200 && attempts[1]["error", as: String?.self] == nil)
            // Who reads the call is told where it went.
            let detail = try await scene.gateway.interceptions.get(.own(scene.stage.user), call.id)
            #expect(detail.attempts.map(\.provider) == ["slow", "quick"] && detail.attempts[1].error == nil)
            #expect(detail.ledger.map { "\($0.provider)/\($0.model)" } == ["quick/test-model"])
            // One session, and the second names the first.
            let shown = try await scene.gateway.interceptions.list(.own(scene.stage.user), .init(), PageRequest()).items
            #expect(shown.count == 2 && Set(shown.map(\.session)).count == 1)
            let hedge = try #require(shown.first { $0.hedgeOf != nil })
            #expect(hedge.hedgeOf == call.id && hedge.contentMode == .hashed && hedge.prompt == nil)
            #expect(scene.counted("slow", "won"))
            try await scene.expectExact()
            try await scene.stage.pool.execute("UPDATE ai_interceptions SET hedge_of = id WHERE hedge_of IS NOT NULL")
            let problems = try await scene.gateway.audit.verify().problems
            #expect(problems.map(\.kind) == [.changed], "\(problems)")
        }
    }

    @Test func `both attempts are held while both are under way, and the first may still win`() async throws {
        let (slow, quick) = (TestSupport.Signal(), TestSupport.Signal())
        try await scene(["slow": .init(release: slow), "quick": .init(release: quick)]) { scene in
            async let pending = scene.gateway.call(scene.call())
            try await eventually { scene.upstreams.names.count == 2 }
            let held = try await scene.stage.pool.query(
                "SELECT count(*) AS n, sum(amount)::bigint AS amount, (SELECT held FROM ai_budgets) AS held FROM ai_holds")[0]
            #expect(try held["n"] == 2 && held["amount", as: Int64.self] == held["held", as: Int64.self])
            slow.fire()
            let answer = await pending
            #expect(await answer.text() == Upstream.message("slow"))
            #expect(answer.header("x-slipway-target") == "slow/test-model" && answer.header("x-slipway-attempts") == "2")
            let rows = try await scene.booked()
            #expect(rows.map(\.provider) == ["slow", "quick"] && rows.map(\.status) == ["completed", "cut"])
            #expect(rows.map(\.hedge) == [false, true] && scene.counted("slow", "lost"))
            try await scene.expectExact()
        }
    }

    @Test func `a budget that does not cover both makes it one attempt, and nothing else`() async throws {
        let release = TestSupport.Signal()
        // A call holds a little more than a cent.
        try await scene(["slow": .init(release: release)], cap: "0.015") { scene in
            async let pending = scene.gateway.call(scene.call())
            try await eventually { scene.counted("slow", "unaffordable") }
            release.fire()
            #expect(await pending.text() == Upstream.message("slow"))
            #expect(scene.upstreams.names == ["slow"])
            let rows = try await scene.booked()
            #expect(rows.count == 1 && rows[0].cost == NanoDollars(60_000))
            #expect(try await scene.stage.count("ai_interceptions") == 1)
            try await scene.expectExact()
        }
    }

    @Test func `a client that leaves in the middle of a race ends both, and both are booked`() async throws {
        let (slow, quick) = (TestSupport.Signal(), TestSupport.Signal())
        try await scene(["slow": .init(release: slow), "quick": .init(release: quick)]) { scene in
            let call = scene.call()
            let client = Task { await scene.gateway.call(call) }
            try await eventually { scene.upstreams.names.count == 2 }
            client.cancel()
            #expect(await client.value.status >= 400)
            let rows = try await scene.booked()
            #expect(rows.map(\.status) == ["client_left", "cut"] && rows.allSatisfy { $0.state == "estimated" && $0.cost > .zero })
            #expect(rows[1].error == "the client left")
            #expect(Set(rows.map(\.provider)) == ["slow", "quick"])
            try await scene.expectExact()
        }
    }

    @Test func `a shutdown in the middle of a race books both`() async throws {
        let (slow, quick) = (TestSupport.Signal(), TestSupport.Signal())
        try await scene(["slow": .init(release: slow), "quick": .init(release: quick)]) { scene in
            let client = Task { await scene.gateway.call(scene.call()) }
            try await eventually { scene.upstreams.names.count == 2 }
            await scene.gateway.drain(grace: .zero)
            let rows = try await scene.booked()
            #expect(rows.map(\.status) == ["cut", "cut"] && rows.map(\.provider) == ["slow", "quick"])
            #expect(rows.allSatisfy { $0.state == "estimated" && $0.cost > .zero && $0.error == "the server is shutting down" })
            client.cancel()
            _ = await client.value
            #expect(try await scene.booked().count == 2)
            try await scene.expectExact()
        }
    }

    @Test func `a second attempt that fails leaves the call to the first, at no cost`() async throws {
        let release = TestSupport.Signal()
        try await scene(["slow": .init(release: release), "quick": .init(answer: Upstreams.overloaded)]) { scene in
            async let pending = scene.gateway.call(scene.call())
            try await eventually { scene.upstreams.names.count == 2 }
            release.fire()
            #expect(await pending.text() == Upstream.message("slow"))
            let rows = try await scene.booked()
            // Either the failure came first, or the answer did and ended it.
            #expect(rows.count == 2 && rows[0].provider == "slow" && rows[1].provider == "quick" && rows[0].status == "completed")
            #expect(rows[1].status == "cut" || rows[1].cost == .zero)
            try await scene.expectExact()
        }
    }

    @Test(arguments: ["400 Bad Request", "302 Found"]) func `what the second target refuses, the first may still answer`(
        status: String
    ) async throws {
        let release = TestSupport.Signal()
        let refusing = Upstreams.Way(
            answer: { _ in Upstream.head(status: status, length: 1000) + #"{"type":"error"}"# }, isLeft: release)
        try await scene(["slow": .init(release: release), "quick": refusing]) { scene in
            let answer = await scene.gateway.call(scene.call())
            #expect(answer.status == 200 && answer.header("x-slipway-target") == "slow/test-model")
            #expect(await answer.text() == Upstream.message("slow"))
            let rows = try await scene.booked()
            #expect(rows.map(\.provider) == ["slow", "quick"] && rows.map(\.status) == ["completed", "failed"])
            #expect(rows[0].cost == NanoDollars(60_000) && rows[1].cost == .zero)
            try await scene.expectExact()
        }
    }

    @Test func `how soon errors come says nothing of how long answers take`() async throws {
        let way = Upstreams.Way(answer: { _ in Upstream.head(status: "400 Bad Request", length: 2) + "{}" })
        let usual = Upstreams.Way()
        try await scene(["failing": way, "usual": usual], targets: ["failing", "usual"], after: "p95", samples: 2) { scene in
            for _ in 0..<3 { #expect(await scene.gateway.call(scene.call()).status == 400) }
            let hedging = Hedging(
                rule: try HedgeRule(after: "p95", samples: 1), organization: Stage.organization, route: "fast")
            func delay(_ name: String) throws -> Duration? {
                scene.gateway.hedges.begin(hedging, try Self.target(scene.stage, name), isStream: false)
            }
            #expect(try delay("failing") == nil)
            _ = try await scene.gateway.routes.put(
                scene.stage.user, name: "fast", targets: ["usual/test-model"],
                hedge: HedgeRule(after: "p95", samples: 2))
            #expect(await scene.gateway.call(scene.call()).status == 200)
            #expect(try delay("usual") != nil)
        }
    }

    private static func target(_ stage: Stage, _ name: String) throws -> Target {
        let price = try #require(
            try Stage.book().price(of: Stage.model, type: .anthropic, organization: Stage.organization, at: Date()))
        return Target(provider: stage.provider(name, .anthropic), model: Stage.model, api: .messages, price: price, format: nil)
    }

    @Test func `where both fail, the call goes on to what is left of its route`() async throws {
        let release = TestSupport.Signal()
        let failing = Upstreams.Way(release: release, answer: Upstreams.overloaded)
        try await scene(["slow": failing, "quick": .init(answer: Upstreams.overloaded)], targets: ["slow", "quick", "third"]) {
            scene in
            async let pending = scene.gateway.call(scene.call())
            try await eventually { scene.upstreams.names.count == 2 }
            release.fire()
            let answer = await pending
            #expect(await answer.text() == Upstream.message("third") && answer.header("x-slipway-attempts") == "3")
            let rows = try await scene.booked()
            #expect(rows.map(\.provider).first == "third" && rows.count == 2 && rows[1].cost == .zero && rows[1].status == "failed")
            #expect(try await scene.stage.count("ai_attempts", "error = 'HTTP 529'") == 2)
            try await scene.expectExact()
        }
    }

    @Test func `a target that is alone is asked twice`() async throws {
        let release = TestSupport.Signal()
        try await scene(["alone": .init(release: release)], targets: ["alone"]) { scene in
            let answer = await scene.gateway.call(scene.call())
            #expect(await answer.text() == Upstream.message("alone") && scene.upstreams.names == ["alone", "alone"])
            #expect(try await scene.booked().map(\.provider) == ["alone", "alone"])
            try await scene.expectExact()
        }
    }

    @Test func `no more than the share of calls is sent twice, and none in the background`() async throws {
        let release = TestSupport.Signal()
        try await scene(["slow": .init(release: release)], share: 50) { scene in
            async let first = scene.gateway.call(scene.call("one"))
            try await eventually { scene.counted("slow", "capped") }
            let second = await scene.gateway.call(scene.call("two"))
            #expect(second.header("x-slipway-target") == "quick/test-model")
            _ = await second.text()
            async let third = scene.gateway.call(scene.call("three", headers: [(name: "x-slipway-class", value: "background")]))
            try await eventually { scene.upstreams.names.count == 4 }
            release.fire()
            #expect(await first.text() == Upstream.message("slow"))
            #expect(await third.text() == Upstream.message("slow"))
            #expect(try await scene.booked().filter(\.hedge).count == 1)
            try await scene.expectExact()
        }
    }

    @Test func `with a quantile a call is sent twice once enough are known, and by what they took`() async throws {
        let release = TestSupport.Signal()
        let count = NIOLockedValueBox(0)
        let upstream: RawServer.Script = { connection in
            while let request = try await connection.request() {
                let name = String(request.path.split(separator: "/").first ?? "")
                let n = count.withLockedValue { count in
                    if name == "slow" { count += 1 }
                    return count
                }
                if name == "slow", n > 3 { await release.wait() }
                try await connection.send(Upstreams.proper(String(buffer: request.body), name))
            }
        }
        try await Stage.with(upstream) { stage in
            let providers = ["slow", "quick"].map { stage.provider($0, .anthropic, url: "\(stage.upstream)/\($0)") }
            try await stage.gateway(providers: providers) { gateway in
                _ = try await gateway.routes.put(
                    stage.user, name: "fast", targets: ["slow/test-model", "quick/test-model"],
                    // Slow enough that a busy machine's three calls are no reason.
                    hedge: HedgeRule(after: "p95", floorMilliseconds: 600, samples: 3, sharePercent: 100))
                func call() -> GatewayCall { stage.call(Stage.messages(model: "fast"), provider: "auto") }
                for _ in 0..<3 { #expect(await gateway.call(call()).text() == Upstream.message("slow")) }
                #expect(await gateway.call(call()).text() == Upstream.message("quick"))
                release.fire()
                await gateway.drain(grace: .seconds(5))
                try await stage.expectSound(gateway)
                #expect(try await stage.count("ai_interceptions", "hedge_of IS NOT NULL") == 1)
            }
        }
    }

    @Test func `a limit on what is under way makes it one attempt, without a wait`() async throws {
        let release = TestSupport.Signal()
        try await scene(["slow": .init(release: release)]) { scene in
            _ = try await scene.gateway.limits.put(
                scene.stage.user, name: "one", .init(bounds: .init(concurrency: 1)))
            async let pending = scene.gateway.call(scene.call())
            try await eventually { scene.counted("slow", "unaffordable") }
            release.fire()
            #expect(await pending.text() == Upstream.message("slow"))
            #expect(scene.upstreams.names == ["slow"])
            try await scene.expectExact()
        }
    }

    @Test func `what a second attempt is booked as goes by how it ended`() async throws {
        try await Stage.with { stage in
            let request = try stage.request()
            let call = stage.call(Stage.messages())
            let target = try Self.target(stage, "slow")
            let grant = HoldLoop.Grant(amount: NanoDollars(1_000_000), budgets: [7], counters: [3], generation: 0)
            let facts = CallRecord.Facts(
                call: call, interception: request.interception, summary: try RequestSummary.read(call.body, as: .messages),
                demand: .init(full: grant.amount, least: grant.amount), grant: grant, api: .messages, began: .now, guarding: nil)
            let hold = HedgeHold(
                interception: request.interception.hedge(of: call.id, at: target, grant), grant: grant, target: target)
            #expect(
                hold.interception.hedgeOf == call.id && hold.interception.id != call.id && hold.interception.contentMode == .hashed)
            #expect(hold.interception.thread?.root == call.id.uuid && hold.interception.thread?.parent == call.id.uuid)
            for (outcome, state, status, isFree) in [
                (.neverSent, .final, .failed, true), (.ended(why: "late", status: nil), .estimated, .cut, false),
                (.ended(why: "late", status: 200), .estimated, .cut, false), (.ended(why: "late", status: 503), .final, .cut, true),
                (.failed("no route to host", status: nil), .estimated, .failed, true),
                (.failed("HTTP 529", status: 529), .final, .failed, true),
            ] as [(HedgeHold.Outcome, Settlement.State, Settlement.Status, Bool)] {
                let booked = hold.settlement(outcome, target, facts)
                #expect(
                    booked.state == state && booked.ending.status == status && (booked.cost == .zero) == isFree,
                    "\(outcome): \(booked)")
                #expect(
                    booked.hold == grant.amount && booked.budgets == [7] && booked.counters == [3] && booked.ending.error != nil)
                #expect(booked.interception == hold.interception.id && booked.cost <= booked.hold)
            }
        }
    }
}
