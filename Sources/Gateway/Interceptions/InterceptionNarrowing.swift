import Core
import Foundation
import Postgres

/// The conditions of a list, in SQL.
struct InterceptionNarrowing: Sendable {
    let scope: InterceptionScope
    let filter: InterceptionFilter
    /// All calls with a cost in the range, where there are few of them.
    private var costly: [UUID]?
    /// Who is in the group of the filter.
    private var members: [UUID]?

    /// Without a filter.
    init(_ scope: InterceptionScope) {
        self.scope = scope
        filter = InterceptionFilter()
    }

    /// The database overestimates how many calls cost very much, and would then look through all of them, newest first. So it is asked first.
    init(_ scope: InterceptionScope, _ filter: InterceptionFilter, _ pool: PostgresPool) async throws {
        self.scope = scope
        self.filter = filter
        if let group = filter.group { members = try await Self.members(of: group, scope, pool) }
        guard let range = costs("l") else { return }
        let found = try await pool.query(
            """
            SELECT l.interception_id FROM ai_ledger l WHERE \(range) \
            ORDER BY l.cost DESC LIMIT \(Self.few + 1)
            """)
        if found.count <= Self.few { costly = try found.map { try $0["interception_id"] } }
    }

    private static let few = 2000

    /// Asked first, so that the list is planned for so many people as there are.
    private static func members(of group: String, _ scope: InterceptionScope, _ pool: PostgresPool) async throws -> [UUID] {
        let rows = try await pool.query(
            """
            SELECT array_remove(array_agg(m.user_id), NULL) AS members FROM groups g LEFT JOIN group_members m ON m.group_id = g.id
            WHERE g.organization_id = \(scope.organization) AND g.name = \(group.storable) GROUP BY g.id
            """)
        guard let row = rows.first else {
            throw AppError(.notFound, "There is no group named '\(group.prefix(64))'.", field: "group")
        }
        return try row["members"]
    }

    /// - Parameters:
    ///   - row: the alias of `ai_interceptions`.
    ///   - isOfSession: the session, and with it the person, is given beside this; said twice, the planner would look for the person's
    ///     calls too.
    func condition(_ row: String, isOfSession: Bool = false) -> Query {
        var query: Query = "\(unsafeSQL: row).organization_id = \(scope.organization)"
        func and(_ column: String, _ value: String?) {
            if let value { query += " AND \(unsafeSQL: row).\(unsafeSQL: column) = \(value.storable)" }
        }
        if !isOfSession { query += people(row) }
        and("provider", filter.provider)
        and("provider_name", filter.providerName)
        and("model", filter.model)
        and("client", filter.client)
        and("session_id", filter.session)
        and("policy", filter.policy)
        and("status", filter.status)
        if let task = filter.task { query += " AND \(unsafeSQL: row).task_id = \(task)" }
        switch filter.decision {
        case .allowed: query += " AND \(unsafeSQL: row).status <> 'refused'"
        // Refused calls have no hold, which an index knows.
        case .refused: query += " AND \(unsafeSQL: row).status = 'refused' AND \(unsafeSQL: row).hold = 0"
        case nil: break
        }
        if let after = filter.startedAfter { query += " AND \(unsafeSQL: row).started_at >= \(after)" }
        if let before = filter.startedBefore { query += " AND \(unsafeSQL: row).started_at < \(before)" }
        if let tool = filter.tool {
            query += """
                 AND EXISTS (SELECT FROM ai_tool_usages t WHERE t.organization_id = \(scope.organization) \
                AND t.interception_id = \(unsafeSQL: row).id AND t.tool = \(tool.storable))
                """
        }
        if let text = filter.text {
            query += """
                 AND EXISTS (SELECT FROM ai_texts x WHERE x.organization_id = \(scope.organization) \
                AND x.interception_id = \(unsafeSQL: row).id AND x.words @@ websearch_to_tsquery('simple', \(SearchText.query(text.storable))))
                """
        }
        if let costly {
            query += " AND \(unsafeSQL: row).id = ANY(\(costly))"
        } else if let range = costs("l") {
            query += " AND EXISTS (SELECT FROM ai_ledger l WHERE \(range) AND l.interception_id = \(unsafeSQL: row).id)"
        }
        return query
    }

    private func people(_ row: String) -> Query {
        var query: Query = ""
        if let user = scope.user { query += " AND \(unsafeSQL: row).initiator_id = \(user)" }
        if let user = filter.initiator { query += " AND \(unsafeSQL: row).initiator_id = \(user)" }
        if let members { query += " AND \(unsafeSQL: row).initiator_id = ANY(\(members))" }
        return query
    }

    private func costs(_ row: String) -> Query? {
        if filter.costAtLeast == nil, filter.costAtMost == nil { return nil }
        var query: Query = "\(unsafeSQL: row).organization_id = \(scope.organization)"
        if let least = filter.costAtLeast { query += " AND \(unsafeSQL: row).cost >= \(least.value)" }
        if let most = filter.costAtMost { query += " AND \(unsafeSQL: row).cost <= \(most.value)" }
        return query
    }
}
