import Core
import Foundation
import Testing

@testable import Gateway

@Suite struct LimitRuleTests {
    // MARK: The window

    @Test func `what was counted is in the window for a minute at least and for 65 seconds at most`() {
        var window = RateWindow(slot: 1000)
        window.advance(to: 1000)
        window.add(7)
        for slot in 1000...1012 {
            window.advance(to: Int64(slot))
            #expect(window.total == 7)
        }
        window.advance(to: 1013)
        #expect(window.total == 0)
    }

    @Test func `in no minute is more let through than the limit says, whenever calls come`() {
        var generator = Seeded(state: 42)
        var window = RateWindow()
        var taken: [Int64] = []
        var second: Int64 = 1_700_000_000
        for _ in 0..<5000 {
            second += Int64.random(in: 0...6, using: &generator)
            window.advance(to: RateWindow.slot(atMicroseconds: second * 1_000_000))
            if window.slotsUntil(1, fitsUnder: 10) == 0 {
                window.add(1)
                taken.append(second)
            }
        }
        #expect(taken.count > 1000)
        for (index, at) in taken.enumerated() where index >= 10 { #expect(at - taken[index - 10] >= 60) }
    }

    @Test func `the wait is how long it takes until it would pass, and not a slot less`() {
        var window = RateWindow(slot: 100)
        window.add(5)
        window.advance(to: 104)
        window.add(5)
        #expect(window.slotsUntil(1, fitsUnder: 10) == 9)
        #expect(window.slotsUntil(6, fitsUnder: 10) == 13)
        var later = window
        later.advance(to: 104 + 8)
        #expect(later.slotsUntil(1, fitsUnder: 10) == 1)
        later.advance(to: 104 + 9)
        #expect(later.slotsUntil(1, fitsUnder: 10) == 0)
    }

    @Test func `what is larger than the limit passes when nothing else is counted, and keeps all others out`() {
        var window = RateWindow(slot: 5)
        #expect(window.slotsUntil(1_000_000, fitsUnder: 100) == 0)
        window.add(1_000_000)
        #expect(window.slotsUntil(1, fitsUnder: 100) == 13)
    }

    @Test func `a clock that jumps back far empties the window, and one that goes back a little does nothing`() {
        var window = RateWindow(slot: 1000)
        window.add(3)
        window.advance(to: 995)
        #expect(window.slot == 1000 && window.total == 3)
        window.advance(to: 900)
        #expect(window.slot == 900 && window.total == 0)
    }

    // MARK: The plan

    private func counter(
        _ id: Int64, requests: Int64? = nil, tokens: Int64? = nil, concurrency: Int64? = nil, open: Int64 = 0
    ) -> RatePlan.Counter {
        RatePlan.Counter(
            id: id, name: "l\(id)",
            bounds: .init(requestsPerMinute: requests, tokensPerMinute: tokens, concurrency: concurrency), open: open,
            requests: RateWindow(slot: 200), tokens: RateWindow(slot: 200))
    }

    /// Two seconds into slot 200.
    private let now: Int64 = 1_002_000_000

    @Test func `a call passes when every limit lets it, is counted in all of them, and nothing is counted of one that is refused`()
    {
        var plan = RatePlan([counter(1, requests: 2), counter(2, tokens: 100), counter(3, concurrency: 5)], now: now)
        #expect(plan.check([1, 2, 3], tokens: 60) == .admitted)
        plan.take([1, 2, 3], tokens: 60)
        #expect(plan.changed.map(\.open) == [1, 1, 1])
        // The 60 are gone from the window in slot 213: in 63 seconds.
        #expect(
            plan.check([1, 2, 3], tokens: 60) == .limited(counter: 2, what: "tokens", limit: 100, wait: .microseconds(63_000_000)))
        #expect(plan.check([1, 2, 3], tokens: 40) == .admitted)
        plan.take([1, 2, 3], tokens: 40)
        guard case .limited(1, "requests", 2, _) = plan.check([1], tokens: 0) else {
            Issue.record("a third request passed")
            return
        }
    }

    @Test func `a call whose minute is used up is told so, even where it would have to wait for a place`() {
        var plan = RatePlan([counter(1, concurrency: 1, open: 1), counter(2, requests: 1)], now: now)
        #expect(plan.check([1, 2], tokens: 1) == .busy(counter: 1, limit: 1))
        plan.take([2], tokens: 1)
        guard case .limited(2, "requests", 1, _) = plan.check([1, 2], tokens: 1) else {
            Issue.record("it was told to wait")
            return
        }
    }

    @Test func `a limit of zero lets nothing through`() {
        let plan = RatePlan([counter(1, requests: 0), counter(2, tokens: 0), counter(3, concurrency: 0)], now: now)
        for id in Int64(1)...2 {
            guard case .limited(id, _, 0, _) = plan.check([id], tokens: 0) else {
                Issue.record("limit \(id) let a call through")
                continue
            }
        }
        #expect(plan.check([3], tokens: 0) == .busy(counter: 3, limit: 0))
        // Nobody is told that it ends.
        for error in [RateRefusal.limited("a", "tokens", 0, .seconds(1)), RateRefusal.busy("a", 0)] {
            #expect(error.retry == .never && error.message.contains("until an admin changes it"))
        }
    }

    // MARK: The line

    private func waiter(_ id: UInt64, _ turn: CallClass = .interactive, in time: Duration = .seconds(1)) -> WaitingLine.Waiter {
        .init(id: id, turn: turn, deadline: ContinuousClock.Instant.now + time)
    }

    @Test func `those that somebody waits for go first, and each kind in its order`() {
        var line = WaitingLine(longest: 10)
        for (id, turn) in [(1, CallClass.background), (2, .interactive), (3, .background), (4, .interactive)] {
            #expect(line.join(waiter(UInt64(id), turn)).isIn)
        }
        var order: [UInt64] = []
        var next = line.wake()
        while let id = next {
            order.append(id)
            next = line.passed(id)
        }
        #expect(order == [2, 4, 1, 3] && line.isEmpty)
    }

    @Test func `a full line takes nobody, but for one that somebody waits for in place of the last background call`() {
        var line = WaitingLine(longest: 2)
        _ = line.join(waiter(1, .background))
        _ = line.join(waiter(2, .background))
        #expect(line.join(waiter(3, .background)) == (false, nil))
        #expect(line.join(waiter(4)) == (true, 2))
        #expect(line.join(waiter(5)) == (true, 1))
        #expect(line.join(waiter(6)) == (false, nil))
    }

    @Test func `one tries at a time, and what came free meanwhile is not missed`() {
        var line = WaitingLine(longest: 5)
        _ = line.join(waiter(1))
        _ = line.join(waiter(2))
        #expect(line.wake() == 1)
        #expect(line.wake() == nil)
        #expect(line.failed(1) == 1)
        #expect(line.failed(1) == nil)
        #expect(line.wake() == 1)
        #expect(line.passed(1) == 2)
        line.leave(2)
        #expect(line.isEmpty && line.wake() == nil)
    }

    @Test func `whose time is up goes, but not while it tries`() {
        var line = WaitingLine(longest: 5)
        _ = line.join(waiter(1, in: .zero))
        _ = line.join(waiter(2, in: .zero))
        _ = line.join(waiter(3, in: .seconds(60)))
        #expect(line.wake() == 1)
        #expect(line.expire(.now + .seconds(1)) == [2])
        #expect(line.contains(1) && !line.contains(2) && line.contains(3))
    }

    // MARK: Alerts

    @Test func `an alert's level is the highest threshold that is reached`() {
        let cap = NanoDollars(1000)
        for (taken, level) in [(0, nil), (499, nil), (500, 50), (849, 50), (850, 85), (999, 85), (1000, 100), (5000, 100)]
            as [(Int64, Int?)]
        {
            #expect(BudgetAlert.level(taken: NanoDollars(taken), cap: cap) == level, "\(taken)")
        }
        #expect(BudgetAlert.level(taken: NanoDollars(.max), cap: BudgetService.highestCap) == 100)
        #expect(BudgetAlert.level(taken: .zero, cap: .zero) == nil && BudgetAlert.level(taken: NanoDollars(1), cap: .zero) == 100)
    }

    @Test func `a soft budget gives what is asked for, and a hard one beside it bounds it`() {
        var soft = HoldPlan.Budget(id: 1, cap: NanoDollars(10), spent: .zero, held: .zero)
        soft.isHard = false
        var plan = HoldPlan([soft, .init(id: 2, cap: NanoDollars(50), spent: .zero, held: .zero)])
        let demand = HoldDemand(full: NanoDollars(40), least: NanoDollars(20))
        #expect(plan.take(demand, from: [1, 2]) == .granted(NanoDollars(40)))
        #expect(plan.take(demand, from: [1, 2]) == .refused(budget: 2, left: NanoDollars(10)))
        #expect(plan.take(demand, from: [1]) == .granted(NanoDollars(40)))
    }
}

/// The same numbers each time.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
