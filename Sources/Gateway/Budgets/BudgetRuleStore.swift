import Core
import Foundation
import Postgres

/// The SQL of budgets besides the users' monthly ones. Users' monthly ones are listed here, too.
struct BudgetRuleStore: Sendable {
    let pool: PostgresPool

    /// The subject's name as people write it; `s` is a row with `subject_kind` and `subject_id`.
    private static let subjectName: Query = """
        CASE s.subject_kind
            WHEN 'organization' THEN 'organization'
            WHEN 'user' THEN 'user:' || coalesce((SELECT username FROM users WHERE id = s.subject_id), s.subject_id::text)
            WHEN 'group' THEN 'group:' || coalesce((SELECT name FROM groups WHERE id = s.subject_id), s.subject_id::text)
            WHEN 'task' THEN 'task:' || coalesce((SELECT name FROM tasks WHERE id = s.subject_id), s.subject_id::text)
            ELSE 'token:' || s.subject_id
        END
        """

    /// All that are in force, of all organizations, with the members of their groups.
    static func rules(_ connection: PostgresConnection) async throws -> BudgetRules {
        let rules = try await connection.query(
            """
            SELECT s.id, s.organization_id, s.subject_kind, s.subject_id, s.period, \(subjectName) AS name
            FROM ai_budget_rules s WHERE s.cap IS NOT NULL ORDER BY s.id
            """)
        if rules.isEmpty { return BudgetRules() }
        let members = try await connection.query(
            """
            SELECT m.user_id, m.group_id FROM group_members m
            WHERE m.group_id IN (SELECT subject_id FROM ai_budget_rules WHERE subject_kind = 'group' AND cap IS NOT NULL)
            ORDER BY m.group_id
            """)
        var groups: [UserID: [UUID]] = [:]
        for row in members { groups[try row["user_id"], default: []].append(try row["group_id"]) }
        return BudgetRules(try rules.map { try rule($0) }, groups: groups)
    }

    private static func rule(_ row: Row) throws -> BudgetRule {
        guard let kind = BudgetSubject.Kind(rawValue: try row["subject_kind"]),
            let period = BudgetPeriod(rawValue: try row["period"])
        else { throw AppError(.internal, "A budget has a subject or period that this version does not know.") }
        return BudgetRule(
            id: try row["id"], organization: try row["organization_id"], subject: .init(kind, try row["subject_id"]),
            period: period, name: try row["name"])
    }

    /// Finds the subject by `user:<name>`, `group:<name>`, `organization`, `task:<name>`, `token:<id>`; ids do for all of them.
    /// - Returns: nil when the organization has no such thing.
    func subject(_ organization: OrganizationID, _ kind: BudgetSubject.Kind, _ reference: String) async throws -> BudgetSubject? {
        let id = UUID(uuidString: reference)
        let rows: [Row]
        switch kind {
        case .organization: return .organization(organization)
        case .user:
            rows = try await pool.query(
                "SELECT id FROM users WHERE organization_id = \(organization) AND (id = \(id) OR username = \(reference))")
        case .group:
            rows = try await pool.query(
                "SELECT id FROM groups WHERE organization_id = \(organization) AND (id = \(id) OR name = \(reference))")
        case .task:
            rows = try await pool.query(
                "SELECT id FROM tasks WHERE organization_id = \(organization) AND (id = \(id) OR name = \(reference))")
        case .token: rows = try await pool.query("SELECT id FROM tokens WHERE organization_id = \(organization) AND id = \(id)")
        }
        return try rows.first.map { .init(kind, try $0["id"]) }
    }

    /// - Parameter cap: nil removes it.
    /// - Returns: false when there is nothing to remove.
    static func set(
        _ connection: PostgresConnection, _ organization: OrganizationID, _ subject: BudgetSubject, _ period: BudgetPeriod,
        cap: NanoDollars?, isHard: Bool
    ) async throws -> Bool {
        if case .user(let user) = subject, period == .month {
            guard let cap else { return try await connection.execute("DELETE FROM ai_budget_caps WHERE user_id = \(user)") > 0 }
            try await connection.execute(
                """
                INSERT INTO ai_budget_caps (user_id, organization_id, cap, hard) VALUES (\(user), \(organization), \(cap), \(isHard))
                ON CONFLICT (user_id) DO UPDATE SET cap = excluded.cap, hard = excluded.hard, updated_at = now()
                """)
            return true
        }
        guard let cap else {
            return try await connection.execute(
                """
                UPDATE ai_budget_rules SET cap = NULL, updated_at = now()
                WHERE organization_id = \(organization) AND subject_kind = \(subject.kind.rawValue) AND subject_id = \(subject.id)
                  AND period = \(period.rawValue) AND cap IS NOT NULL
                """) > 0
        }
        try await connection.execute(
            """
            INSERT INTO ai_budget_rules (id, organization_id, subject_kind, subject_id, period, cap, hard)
            VALUES (\(ID<BudgetRule>().uuid), \(organization), \(subject.kind.rawValue), \(subject.id), \(period.rawValue), \(cap), \(isHard))
            ON CONFLICT (organization_id, subject_kind, subject_id, period)
            DO UPDATE SET cap = excluded.cap, hard = excluded.hard, updated_at = now()
            """)
        return true
    }

    /// Which budgets are listed.
    enum Filter {
        case all
        /// The user's own, those of the user's groups, tasks and tokens, and the organization's.
        case concerning(UserID)
        case one(BudgetSubject, BudgetPeriod)
    }

    /// Those that have a cap, with what is taken of them now; by subject and period.
    func list(_ organization: OrganizationID, _ filter: Filter, _ page: PageRequest) async throws -> Page<SubjectBudget> {
        var user: UserID?
        var one: (subject: BudgetSubject, period: BudgetPeriod)?
        switch filter {
        case .all: break
        case .concerning(let id): user = id
        case .one(let subject, let period): one = (subject, period)
        }
        let rows = try await pool.query(
            """
            SELECT * FROM (
                SELECT s.*, \(Self.subjectName) AS name,
                       \(Self.subjectName) || ' ' || array_position(ARRAY['day', 'week', 'month', 'total'], s.period) AS place
                FROM (
                    SELECT r.subject_kind, r.subject_id, r.period, r.cap, r.hard, ai_budget_period(r.period)::text AS start,
                           coalesce(b.spent, 0) AS spent, coalesce(b.held, 0) AS held
                    FROM ai_budget_rules r
                    LEFT JOIN ai_budgets b ON b.rule_id = r.id AND b.period = ai_budget_period(r.period)
                    WHERE r.organization_id = \(organization) AND r.cap IS NOT NULL
                    UNION ALL
                    SELECT 'user', c.user_id, 'month', c.cap, c.hard, ai_budget_period('month')::text,
                           coalesce(b.spent, 0), coalesce(b.held, 0)
                    FROM ai_budget_caps c
                    LEFT JOIN ai_budgets b ON b.user_id = c.user_id AND b.period = ai_budget_period('month')
                    WHERE c.organization_id = \(organization)
                ) s
                WHERE (\(one?.subject.id)::uuid IS NULL
                       OR (s.subject_kind = \(one?.subject.kind.rawValue) AND s.subject_id = \(one?.subject.id)
                           AND s.period = \(one?.period.rawValue)))
                  AND (\(user)::uuid IS NULL OR CASE s.subject_kind
                       WHEN 'organization' THEN true
                       WHEN 'user' THEN s.subject_id = \(user)
                       WHEN 'group' THEN EXISTS (SELECT FROM group_members m WHERE m.group_id = s.subject_id AND m.user_id = \(user))
                       WHEN 'task' THEN EXISTS (SELECT FROM tasks t WHERE t.id = s.subject_id AND t.owner_id = \(user))
                       ELSE EXISTS (SELECT FROM tokens t WHERE t.id = s.subject_id AND t.user_id = \(user)) END)
            ) listed
            WHERE \(page.after)::text IS NULL OR place COLLATE "C" > \(page.after)
            ORDER BY place COLLATE "C" LIMIT \(page.limit + 1)
            """)
        let items = try rows.prefix(page.limit).map { row in
            SubjectBudget(
                subject: try row["name"], period: BudgetPeriod(rawValue: try row["period"]) ?? .total, start: try row["start"],
                cap: try row["cap"], isHard: try row["hard"], spent: try row["spent"], held: try row["held"])
        }
        return Page(items: Array(items), next: rows.count > page.limit ? try rows[page.limit - 1]["place"] : nil)
    }
}
