import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Notices budgets that reach a threshold, and puts it on record: a row, an audit fact, a log line, a count.
///
/// Noticing costs no query: the transaction that takes holds has read the budgets anyway, and here is remembered what was told
/// already. Only a threshold that this process sees for the first time is written, behind the calls; the row's key makes it one among
/// all processes.
final class BudgetAlerts: Sendable {
    struct Crossing: Sendable {
        var budget: Int64
        var level: Int
        var cap: NanoDollars
        var spent: NanoDollars
        var held: NanoDollars
    }

    private enum Item: Sendable {
        case crossing(Crossing)
        /// What these have is not known here: look.
        case look([Int64])
    }

    /// Budgets remembered at once; beyond it all are forgotten, and told again to a database that knows better.
    private static let memory = 100_000

    private let told = NIOLockedValueBox<[Int64: Int]>([:])
    private let batcher: NIOLockedValueBox<Batcher<Item, Void>?> = .init(nil)
    private let store: BudgetAlertStore
    private let facts: AuditFacts
    private let logger: Logger
    private let counter: Counter

    init(pool: PostgresPool, facts: AuditFacts, metrics: Metrics, logger: Logger) {
        store = BudgetAlertStore(pool: pool)
        self.facts = facts
        self.logger = logger
        counter = metrics.counter(
            "slipway_gateway_budget_alerts_total", "Budgets that reached a share of their cap.", labels: ["threshold"])
        batcher.withLockedValue {
            $0 = Batcher { [weak self] batch in
                await self?.perform(batch)
                return batch.map { _ in .success(()) }
            }
        }
    }

    /// Budgets as they are after a batch of holds.
    func note(_ budgets: some Sequence<HoldPlan.Budget>) {
        var crossings: [Item] = []
        for budget in budgets {
            guard let cap = budget.cap else { continue }
            let held = budget.held + budget.taken
            guard let level = BudgetAlert.level(taken: budget.spent + held, cap: cap) else { continue }
            let isNew = told.withLockedValue { told in
                if told[budget.id, default: 0] >= level { return false }
                if told.count >= Self.memory { told = [:] }
                told[budget.id] = level
                return true
            }
            if isNew {
                crossings.append(.crossing(.init(budget: budget.id, level: level, cap: cap, spent: budget.spent, held: held)))
            }
        }
        post(crossings)
    }

    /// After settlements that no hold foretold: more was booked than held, or the one who held is gone.
    func look(_ settled: [Settlement]) {
        let budgets = Set(settled.filter { $0.cost > $0.hold || $0.state == .unknown }.flatMap(\.budgets))
        if !budgets.isEmpty { post([.look(Array(budgets))]) }
    }

    /// Returns when everything noticed so far is on record, or failed to be.
    func idle() async { await batcher.withLockedValue { $0 }?.idle() }

    private func post(_ items: [Item]) { batcher.withLockedValue { $0 }?.post(items) }

    private func perform(_ batch: [Item]) async {
        var crossings: [Crossing] = []
        for item in batch {
            switch item {
            case .crossing(let crossing): crossings.append(crossing)
            case .look(let budgets):
                // It is noticed by the next hold otherwise.
                if let seen = try? await store.look(budgets) { note(seen) }
            }
        }
        if crossings.isEmpty { return }
        let reached = crossings
        do {
            let alerts = try await facts.record { connection in
                let new = try await BudgetAlertStore.insert(connection, reached)
                let facts = try new.map { organization, alert in
                    try AuditFacts.Fact(
                        organization: organization, actor: nil, kind: "budget.alert", subject: alert.subject,
                        [
                            "period": alert.period.rawValue, "start": alert.start, "threshold": "\(alert.threshold)",
                            "cap_nano_dollars": "\(alert.cap.value)", "spent_nano_dollars": "\(alert.spent.value)",
                            "held_nano_dollars": "\(alert.held.value)",
                        ])
                }
                return (new.map(\.alert), facts)
            }
            for alert in alerts { tell(alert) }
        } catch {
            // The next hold notices it again.
            told.withLockedValue { told in for crossing in reached { told[crossing.budget] = nil } }
            logger.warning("alerts of budgets cannot be written yet", metadata: ["error": "\(error)"])
        }
    }

    private func tell(_ alert: BudgetAlert) {
        counter.add(1, ["\(alert.threshold)"])
        logger.warning(
            "a budget reached \(alert.threshold) %",
            metadata: [
                "budget": "\(alert.subject)", "period": "\(alert.period.name(from: alert.start))", "cap": "\(alert.cap)",
                "spent": "\(alert.spent)", "held": "\(alert.held)",
            ])
    }
}
