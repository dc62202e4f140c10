import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres

/// Holds of which nobody knows whether they were taken: the connection was lost during the commit, or the database answered too
/// late. Their calls were refused and never sent, so a hold that stands after all is given back.
final class HoldDoubts: Sendable {
    /// What stands in the database.
    struct Found: Sendable {
        var amount: NanoDollars
        var budgets: [Int64]
        var counters: [Int64]
    }

    private struct Doubt {
        var request: HoldLoop.Request
        var since: ContinuousClock.Instant
    }

    /// A connection's other end can commit for a moment after it was lost.
    private static let memory = Duration.seconds(30)

    private let pool: PostgresPool
    private let doubts = NIOLockedValueBox<[InterceptionID: Doubt]>([:])

    init(pool: PostgresPool) { self.pool = pool }

    var isEmpty: Bool { doubts.withLockedValue { $0.isEmpty } }

    func note(_ requests: [HoldLoop.Request]) {
        let now = ContinuousClock.now
        doubts.withLockedValue { doubts in
            for request in requests where request.demand != nil {
                doubts[request.interception.id] = Doubt(request: request, since: now)
            }
        }
    }

    /// Whether its caller has gone before it was sent to the database; then there is nothing to doubt.
    func dropUnsent(_ request: HoldLoop.Request) -> Bool {
        doubts.withLockedValue { $0.removeValue(forKey: request.interception.id) } != nil
    }

    /// Those that stand, each told once. Call it only while no hold is being taken.
    func resolve() async -> [(HoldLoop.Request, Found)] {
        let open = doubts.withLockedValue { $0 }
        if open.isEmpty { return [] }
        let asked = ContinuousClock.now
        guard
            let rows = try? await pool.query(
                """
                SELECT interception_id, amount, budget_ids, coalesce(rate_counters, '{}') AS rate_counters FROM ai_holds
                WHERE interception_id = ANY(\(open.keys.map(\.uuid)))
                """)
        else { return [] }
        var found: [(HoldLoop.Request, Found)] = []
        for row in rows {
            guard let id = try? row["interception_id", as: InterceptionID.self], let doubt = open[id],
                let amount = try? row["amount", as: NanoDollars.self], let budgets = try? row["budget_ids", as: [Int64].self],
                let counters = try? row["rate_counters", as: [Int64].self]
            else { continue }
            found.append((doubt.request, Found(amount: amount, budgets: budgets, counters: counters)))
        }
        doubts.withLockedValue { doubts in
            for (request, _) in found { doubts[request.interception.id] = nil }
            doubts = doubts.filter { $0.value.since.duration(to: asked) < Self.memory }
        }
        return found
    }
}
