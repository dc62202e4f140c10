import Core
import ModelAPI
import TestSupport
import Testing

@testable import Gateway

@Suite struct HedgeRuleTests {
    @Test func `a rule is read with what is usual, and what is none is refused by its field`() throws {
        let rule = try HedgeRule(after: "p95")
        #expect(rule.after == .quantile(95) && rule.floor == .milliseconds(200) && rule.samples == 30 && rule.share == 10)
        let fixed = try HedgeRule(after: "2s", floorMilliseconds: 0, samples: 1, sharePercent: 100)
        #expect(fixed.after == .fixed(.seconds(2)) && fixed.after.text == "2000ms" && rule.after.text == "p95")
        #expect(try HedgeRule(after: fixed.after.text).after == fixed.after)
        for bad in ["", "p", "p49", "p100", "95", "9ms", "601s", "-1s", "1.5s", "p95 ", "600001ms", "s"] {
            #expect(throws: AppError.self, "\(bad)") { _ = try HedgeRule(after: bad) }
        }
        for (floor, samples, share, field) in [
            (-1, 30, 10, "floor_milliseconds"), (600_001, 30, 10, "floor_milliseconds"), (0, 0, 10, "samples"),
            (0, 201, 10, "samples"), (0, 30, 0, "share_percent"), (0, 30, 101, "share_percent"),
        ] {
            let error = #expect(throws: AppError.self) {
                _ = try HedgeRule(after: "p95", floorMilliseconds: floor, samples: samples, sharePercent: share)
            }
            #expect(error?.field == "hedge.\(field)")
        }
    }

    @Test func `a quantile needs its samples, is of the newest, and never below the floor`() throws {
        var recent = RecentTimes()
        #expect(recent.quantile(95) == nil)
        let rule = try HedgeRule(after: "p90", floorMilliseconds: 100, samples: 10)
        for time in 1...9 { recent.add(.milliseconds(100 * time)) }
        #expect(rule.delay(nil) == nil && rule.delay(recent) == nil)
        recent.add(.seconds(1))
        #expect(rule.delay(recent) == .milliseconds(900))
        #expect(recent.quantile(50) == .milliseconds(500) && recent.quantile(99) == .seconds(1))
        // Older ones are forgotten, whatever they were.
        for _ in 0..<RecentTimes.most { recent.add(.milliseconds(7)) }
        #expect(
            recent.count == RecentTimes.most && recent.quantile(99) == .milliseconds(7) && rule.delay(recent) == .milliseconds(100))
        recent.add(.seconds(1_000_000))
        recent.add(.seconds(-1))
        #expect(recent.quantile(50) == .milliseconds(7))
        #expect(try HedgeRule(after: "300ms").delay(nil) == .milliseconds(300))
    }

    @Test func `never more than its share of a route's calls is sent twice`() {
        for share in [1, 7, 10, 50, 100] {
            var one = HedgeShare()
            var hedged = 0
            for call in 1...5000 {
                one.called(share)
                if one.take() { hedged += 1 }
                #expect(hedged * 100 <= call * share)
            }
            #expect(hedged == 5000 * share / 100)
        }
        // What is saved up is bounded.
        var saved = HedgeShare()
        for _ in 0..<5000 { saved.called(50) }
        #expect((0..<100).filter { _ in saved.take() }.count == HedgeShare.most)
    }

    // MARK: The race

    private func run(_ events: [HedgeRace.Event]) -> ([HedgeRace.Action], HedgeRace.Runner?) {
        var race = HedgeRace()
        let actions = events.map { race.handle($0) }
        return (actions, race.winner)
    }

    @Test func `each course of a race ends once, with the first good answer or the last bad one`() {
        typealias Case = (events: [HedgeRace.Event], actions: [HedgeRace.Action], winner: HedgeRace.Runner?)
        let good1 = HedgeRace.Event.answered(.first, isGood: true)
        let good2 = HedgeRace.Event.answered(.second, isGood: true)
        let bad1 = HedgeRace.Event.answered(.first, isGood: false)
        let bad2 = HedgeRace.Event.answered(.second, isGood: false)
        let cases: [Case] = [
            ([good1], [.end(.first)], .first), ([bad1], [.end(.first)], .first), ([.failed(.first)], [.end(.first)], .first),
            ([.due, .held, good2, good1], [.hold, .send, .end(.second), .wait], .second),
            ([.due, .held, good1, good2], [.hold, .send, .end(.first), .wait], .first),
            ([.due, .held, good1, .failed(.second)], [.hold, .send, .end(.first), .wait], .first),
            ([.due, .notHeld, good1], [.hold, .wait, .end(.first)], .first),
            ([.due, .notHeld, bad1], [.hold, .wait, .end(.first)], .first),
            // The hold comes too late.
            ([.due, good1, .held], [.hold, .end(.first), .release], .first),
            ([.due, .failed(.first), .held], [.hold, .end(.first), .release], .first),
            ([.due, bad1, .notHeld], [.hold, .end(.first), .wait], .first),
            // The one is out, the other goes on.
            ([.due, .held, bad1, good2], [.hold, .send, .wait, .end(.second)], .second),
            ([.due, .held, bad2, good1], [.hold, .send, .wait, .end(.first)], .first),
            ([.due, .held, bad1, bad2], [.hold, .send, .wait, .end(.second)], .second),
            ([.due, .held, .failed(.second), .failed(.first)], [.hold, .send, .wait, .end(.first)], .first),
            ([.due, .held, .failed(.first), .failed(.second)], [.hold, .send, .wait, .end(.second)], .second),
            // Once is enough.
            ([.due, .due, .held, .due, good2], [.hold, .wait, .send, .wait, .end(.second)], .second),
            ([good1, .due], [.end(.first), .wait], .first),
        ]
        for one in cases {
            let (actions, winner) = run(one.events)
            #expect(actions == one.actions && winner == one.winner, "\(one.events): \(actions)")
        }
    }
}
