import Core
import Foundation
import Postgres

/// That a budget's spent and held together reached a share of its cap: told once per budget, period and threshold.
package struct BudgetAlert: Sendable {
    /// Percent of the cap.
    package static let thresholds = [50, 85, 100]

    /// As in `SubjectBudget`.
    package var subject: String
    package var period: BudgetPeriod
    /// The first day of the period.
    package var start: String
    /// Percent: 50, 85 or 100.
    package var threshold: Int
    /// When it was reached.
    package var cap: NanoDollars
    package var spent: NanoDollars
    package var held: NanoDollars
    package var at: Date

    /// The highest threshold that is reached; nil below the lowest, and for a cap of zero of which nothing is taken.
    static func level(taken: NanoDollars, cap: NanoDollars) -> Int? {
        guard taken > .zero else { return nil }
        return thresholds.last { threshold in
            // taken / cap >= threshold / 100, without overflow.
            let (product, overflow) = taken.value.multipliedReportingOverflow(by: 100)
            return overflow || product >= cap.value.multipliedReportingOverflow(by: Int64(threshold)).partialValue
        }
    }
}

struct BudgetAlertStore: Sendable {
    let pool: PostgresPool

    /// The budget's subject by name, as `BudgetRuleStore` lists it; `b` is its row, `r` its rule if it has one.
    private static let subjectName: Query = """
        CASE coalesce(r.subject_kind, 'user')
            WHEN 'organization' THEN 'organization'
            WHEN 'user' THEN 'user:' || (SELECT username FROM users WHERE id = coalesce(b.user_id, r.subject_id))
            WHEN 'group' THEN 'group:' || coalesce((SELECT name FROM groups WHERE id = r.subject_id), r.subject_id::text)
            WHEN 'task' THEN 'task:' || coalesce((SELECT name FROM tasks WHERE id = r.subject_id), r.subject_id::text)
            ELSE 'token:' || r.subject_id
        END
        """

    private static let columns: Query = """
        coalesce(\(subjectName), 'user:' || coalesce(b.user_id, r.subject_id)) AS subject, coalesce(r.period, 'month') AS kind,
        b.period::text AS start, a.threshold, a.cap, a.spent, a.held, a.at, a.organization_id, a.budget_id, a.number
        """

    /// Writes down every threshold up to the level that is reached, unless it was before.
    /// - Returns: those that are new, with their organizations.
    static func insert(
        _ connection: PostgresConnection, _ crossings: [BudgetAlerts.Crossing]
    ) async throws -> [(organization: OrganizationID, alert: BudgetAlert)] {
        let rows = try await connection.query(
            """
            WITH a AS (
                INSERT INTO ai_budget_alerts (budget_id, threshold, organization_id, cap, spent, held)
                SELECT b.id, s.threshold, b.organization_id, t.cap, t.spent, t.held
                FROM unnest(\(crossings.map(\.budget)), \(crossings.map(\.level)), \(crossings.map(\.cap.value)),
                            \(crossings.map(\.spent.value)), \(crossings.map(\.held.value))) AS t (id, level, cap, spent, held)
                JOIN ai_budgets b ON b.id = t.id
                JOIN unnest(\(BudgetAlert.thresholds)) AS s (threshold) ON s.threshold <= t.level
                ORDER BY b.id, s.threshold
                ON CONFLICT (budget_id, threshold) DO NOTHING
                RETURNING *)
            SELECT \(columns) FROM a JOIN ai_budgets b ON b.id = a.budget_id LEFT JOIN ai_budget_rules r ON r.id = b.rule_id
            ORDER BY a.number
            """)
        return try rows.map { (try $0["organization_id"], try alert($0)) }
    }

    /// What these budgets have now.
    func look(_ budgets: [Int64]) async throws -> [HoldPlan.Budget] {
        try await pool.query(
            """
            SELECT b.id, b.spent, b.held, coalesce(c.cap, r.cap) AS cap FROM ai_budgets b
            LEFT JOIN ai_budget_caps c ON c.user_id = b.user_id LEFT JOIN ai_budget_rules r ON r.id = b.rule_id
            WHERE b.id = ANY(\(budgets))
            """
        ).map { HoldPlan.Budget(id: try $0["id"], cap: try $0["cap"], spent: try $0["spent"], held: try $0["held"]) }
    }

    /// The newest first.
    /// - Parameter concerning: only alerts of this user's own budgets, and of the user's groups, tasks, tokens and organization.
    func list(_ organization: OrganizationID, concerning user: UserID?, _ page: PageRequest) async throws -> Page<BudgetAlert> {
        var after: Int64?
        if let text = page.after {
            guard let number = Int64(text) else {
                throw AppError(.badRequest, "after is not a cursor of this list; take it from the answer before.", field: "after")
            }
            after = number
        }
        let rows = try await pool.query(
            """
            SELECT \(Self.columns) FROM ai_budget_alerts a JOIN ai_budgets b ON b.id = a.budget_id
            LEFT JOIN ai_budget_rules r ON r.id = b.rule_id
            WHERE a.organization_id = \(organization) AND (\(after)::bigint IS NULL OR a.number < \(after))
              AND (\(user)::uuid IS NULL OR CASE coalesce(r.subject_kind, 'user')
                   WHEN 'organization' THEN true
                   WHEN 'user' THEN coalesce(b.user_id, r.subject_id) = \(user)
                   WHEN 'group' THEN EXISTS (SELECT FROM group_members m WHERE m.group_id = r.subject_id AND m.user_id = \(user))
                   WHEN 'task' THEN EXISTS (SELECT FROM tasks t WHERE t.id = r.subject_id AND t.owner_id = \(user))
                   ELSE EXISTS (SELECT FROM tokens t WHERE t.id = r.subject_id AND t.user_id = \(user)) END)
            ORDER BY a.number DESC LIMIT \(page.limit + 1)
            """)
        let items = try rows.prefix(page.limit).map { try Self.alert($0) }
        return Page(
            items: Array(items), next: rows.count > page.limit ? "\(try rows[page.limit - 1]["number", as: Int64.self])" : nil)
    }

    private static func alert(_ row: Row) throws -> BudgetAlert {
        BudgetAlert(
            subject: try row["subject"], period: BudgetPeriod(rawValue: try row["kind"]) ?? .total, start: try row["start"],
            threshold: try row["threshold"], cap: try row["cap"], spent: try row["spent"], held: try row["held"],
            at: try row["at"])
    }
}

extension BudgetService {
    /// The newest first; the cursor is opaque.
    /// - Parameter everyones: false: those that concern the caller.
    package func alerts(_ principal: Principal, everyones: Bool, _ page: PageRequest) async throws -> Page<BudgetAlert> {
        try await alerted.list(principal.organization, concerning: everyones ? nil : principal.user, page)
    }
}
