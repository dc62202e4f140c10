import Core
import Foundation
import NIOConcurrencyHelpers

/// The budgets as the last batches of holds left them, so that a batch that surely fits can be held without looking first: one round
/// trip instead of two. Nothing is granted by it alone: the statement that takes the money fails where it is not there
/// (`HoldStatements.take`), and then the batch looks.
final class HoldMemory: Sendable {
    /// How old a look may be that others follow without looking themselves. Caps that are lowered meanwhile are seen by the statement
    /// all the same; what is late is the text of a refusal and the time of day.
    private static let longest = Duration.seconds(1)
    /// So many more batches of this size must fit: a budget near its end is looked at, since a guess that fails costs a round trip.
    private static let margin: Int64 = 8

    private struct Look {
        var budget: HoldPlan.Budget
        var at: ContinuousClock.Instant
    }

    private struct State {
        var looks: [Int64: Look] = [:]
        var budgetOfUser: [UUID: Int64] = [:]
        var monthName = ""
        /// The database's clock, microseconds since 1970, and when it was read.
        var clock: (now: Int64, at: ContinuousClock.Instant)?
    }

    /// Users remembered at once; beyond it all are forgotten.
    private static let most = 10_000

    private let state = NIOLockedValueBox(State())

    /// After a look.
    func learn(_ locked: HoldLocks) {
        state.withLockedValue { state in
            if state.budgetOfUser.count > Self.most { state = State() }
            let now = ContinuousClock.now
            for (user, budget) in locked.ownBudgets {
                state.budgetOfUser[user] = budget.id
                state.looks[budget.id] = Look(budget: budget, at: now)
            }
            (state.monthName, state.clock) = (locked.monthName, (locked.now, now))
        }
    }

    /// What a batch left of these.
    func note(_ budgets: [HoldPlan.Budget]) {
        state.withLockedValue { state in
            for budget in budgets { state.looks[budget.id]?.budget = budget }
        }
    }

    func forget() { state.withLockedValue { $0 = State() } }

    /// Nil: the batch has to look.
    func locks(for batch: [HoldLoop.Request]) -> HoldLocks? {
        guard batch.allSatisfy(Self.isPlain) else { return nil }
        var wanted: [UUID: Int64] = [:]
        for request in batch { wanted[request.interception.initiator.uuid, default: 0] += request.demand?.full.value ?? 0 }
        return state.withLockedValue { state in
            let now = ContinuousClock.now
            func isYoung(_ instant: ContinuousClock.Instant) -> Bool { instant.duration(to: now) <= Self.longest }
            guard let clock = state.clock, isYoung(clock.at) else { return nil }
            var found: [UUID: HoldPlan.Budget] = [:]
            for (user, amount) in wanted {
                guard let look = state.budgetOfUser[user].flatMap({ state.looks[$0] }), isYoung(look.at) else { return nil }
                if let left = look.budget.left, left.value / Self.margin < amount { return nil }
                found[user] = look.budget
            }
            let age = Int64(clock.at.duration(to: now) / .microseconds(1))
            return HoldLocks(remembered: found, now: clock.now + age, monthName: state.monthName)
        }
    }

    /// A call that nothing but its user's month bounds, and of which nothing else has to be looked up.
    private static func isPlain(_ request: HoldLoop.Request) -> Bool {
        let call = request.interception
        return request.demand != nil && request.rules.isEmpty && request.uses.isEmpty && request.claim == nil
            && call.refusal == nil && call.replayOf == nil && (call.toolCall == nil || call.thread != nil)
    }
}
