import Core
import Foundation
import Policies
import Postgres

/// Calls on record, as the policies would be asked about them today.
///
/// Roles and groups are those that people have now, budgets have their caps of now: the record does not keep what they were. What was
/// spent is summed over the calls that began before.
struct PastCalls: Sendable {
    let pool: PostgresPool
    let settings: Settings

    struct Past: Sendable {
        var id: InterceptionID
        var facts: PolicyFacts
        var recorded: String
        fileprivate var place: Place
        fileprivate var cost: Int64
    }

    fileprivate struct Place: Sendable {
        var at: Date
        var id: UUID
    }

    private static let columns: Query = """
        SELECT i.id, i.organization_id, i.initiator_id, u.username, u.roles, i.task_id, i.task_step, i.client, i.provider_name, i.model,
               i.protocol, i.request_size, i.policy, i.started_at
        """

    /// - Throws: `notFound`.
    func one(_ organization: OrganizationID, _ id: InterceptionID, needsBudgets: Bool) async throws -> Past {
        let rows = try await pool.query(
            """
            \(Self.columns), 0::bigint AS cost FROM ai_interceptions i JOIN users u ON u.id = i.initiator_id
            WHERE i.organization_id = \(organization) AND i.id = \(id)
            """)
        guard let row = rows.first else { throw AppError(.notFound, "There is no model call \(id).", field: "interception_id") }
        var past = try past(row)
        if needsBudgets {
            let spent = try await Spending(pool, organization, until: past.facts.at)
            past.facts.budgetPercent = spent.percent(past.facts.user, past.facts.at)
        }
        return past
    }

    /// Oldest first. `take` gets each with what was spent before it.
    func each(
        _ organization: OrganizationID, _ range: Range<Date>, needsBudgets: Bool, _ take: (Past) -> Void
    ) async throws {
        var spending = needsBudgets ? try await Spending(pool, organization, until: range.lowerBound) : nil
        var place: Place?
        while true {
            try Task.checkCancellation()
            let rows = try await pool.query(
                """
                \(Self.columns),
                       coalesce((SELECT sum(l.cost) FROM ai_ledger l WHERE l.interception_id = i.id), 0)::bigint AS cost
                FROM ai_interceptions i JOIN users u ON u.id = i.initiator_id
                WHERE i.organization_id = \(organization) AND i.started_at >= \(range.lowerBound) AND i.started_at < \(range.upperBound)
                  AND (\(place?.at)::timestamptz IS NULL OR (i.started_at, i.id) > (\(place?.at), \(place?.id)))
                ORDER BY i.started_at, i.id LIMIT \(Self.pageSize)
                """)
            for row in rows {
                var past = try past(row)
                past.facts.budgetPercent = spending?.percent(past.facts.user, past.facts.at)
                spending?.add(past.cost, past.facts.user, past.facts.at)
                take(past)
                place = past.place
            }
            if rows.count < Self.pageSize { return }
        }
    }

    private static let pageSize = 5000

    private func past(_ row: Row) throws -> Past {
        let at: Date = try row["started_at"]
        var facts = PolicyFacts(
            username: try row["username"], roles: Set(try row["roles", as: [String].self].compactMap(Role.init(rawValue:))),
            provider: try row["provider_name"], model: try row["model"], modelProtocol: try row["protocol"], at: at,
            bytes: try row["request_size"])
        facts.organization = try row["organization_id"]
        facts.organizationName = settings.policies.organizations[facts.organization] ?? ""
        facts.user = try row["initiator_id"]
        facts.groups = settings.policies.groups[facts.user] ?? []
        facts.task = try row["task_id"]
        facts.client = try row["client"]
        // That a call from outside called itself a background one is not on record.
        facts.requestClass = try row["task_step", as: Int?.self] == nil ? .interactive : .background
        let id: InterceptionID = try row["id"]
        return Past(id: id, facts: facts, recorded: try row["policy"], place: Place(at: at, id: id.uuid), cost: try row["cost"])
    }
}

/// What users spent of their budgets of the month (UTC), as the past goes by.
private struct Spending {
    private var month: Int
    private var spent: [UserID: Int64] = [:]
    private let caps: [UserID: Int64]

    init(_ pool: PostgresPool, _ organization: OrganizationID, until: Date) async throws {
        month = Self.month(until)
        var caps: [UserID: Int64] = [:]
        for row in try await pool.query("SELECT user_id, cap FROM ai_budget_caps WHERE organization_id = \(organization)") {
            caps[try row["user_id"]] = try row["cap"]
        }
        self.caps = caps
        let rows = try await pool.query(
            """
            SELECT user_id, sum(cost)::bigint AS cost FROM ai_ledger
            WHERE organization_id = \(organization) AND settled_at < \(until)
              AND settled_at >= date_trunc('month', \(until)::timestamptz AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
            GROUP BY user_id
            """)
        for row in rows { spent[try row["user_id"]] = try row["cost"] }
    }

    func percent(_ user: UserID, _ at: Date) -> Int? {
        guard let cap = caps[user] else { return nil }
        if cap == 0 { return 100 }
        let sum = Self.month(at) == month ? spent[user] ?? 0 : 0
        return Int(min(1_000_000, (Double(sum) * 100 / Double(cap)).rounded(.down)))
    }

    mutating func add(_ cost: Int64, _ user: UserID, _ at: Date) {
        if Self.month(at) != month { (month, spent) = (Self.month(at), [:]) }
        spent[user, default: 0] += cost
    }

    private static func month(_ date: Date) -> Int {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let parts = calendar.dateComponents([.year, .month], from: date)
        return (parts.year ?? 0) * 12 + (parts.month ?? 0)
    }
}
