import Core
import Foundation
import ModelAPI
import Postgres

/// Adds up what was spent: the sums by day, and what is booked but not in them yet, in one look at the database.
package struct SpendStore: Sendable {
    let pool: PostgresPool

    static let noTask = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))

    /// Over the alias `l` of the ledger, which has one row for each call.
    static let sums = """
        count(*), sum(l.input_tokens)::bigint, sum(l.cache_read_input_tokens)::bigint,
        sum(l.cache_write_5m_tokens)::bigint, sum(l.cache_write_1h_tokens)::bigint, sum(l.output_tokens)::bigint,
        sum(l.reasoning_tokens)::bigint, sum(l.web_searches)::bigint, sum(l.cost)::bigint
        """

    /// The entries behind what is summed, with the booking that one is about, if it is about one.
    static func behind(limit: Int) -> Query {
        """
        SELECT e.chain, e.n, CASE e.kind WHEN 'ledger' THEN split_part(e.subject, '/', 1)::uuid END AS interception_id,
               CASE e.kind WHEN 'ledger' THEN split_part(e.subject, '/', 2)::integer END AS attempt
        FROM \(AuditChain.behind(SpendFollower.name, limit: limit)) WHERE c.name = 'ledger'
        """
    }

    /// Dearest first.
    ///
    /// - Throws: `badRequest` for days that are none.
    package func spend(_ scope: InterceptionScope, _ query: SpendQuery) async throws -> (from: String, lines: [SpendLine]) {
        for (name, day) in [("from", query.from), ("to", query.to)] {
            if let day, day.wholeMatch(of: /[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])/) == nil {
                throw AppError(.badRequest, "\(name) is '\(day.prefix(32))'; expected a day such as 2026-11-21.", field: name)
            }
        }
        let columns: [SpendDimension: String] = [
            .user: "user_id", .group: "group_name", .provider: "provider", .model: "model", .client: "client", .task: "task_id",
            .day: "day",
        ]
        let by = query.by.compactMap { columns[$0] }
        func column(_ dimension: SpendDimension, _ type: String) -> String {
            query.by.contains(dimension) ? "s.\(columns[dimension] ?? "")" : "NULL::\(type)"
        }
        // In each condition rather than in a table of their own, so that the planner knows how many days they are.
        let first: Query = "coalesce(\(query.from)::date, date_trunc('month', now() AT TIME ZONE 'UTC')::date)"
        let past: Query = "coalesce(\(query.to)::date, 'infinity'::date)"
        let rows = try await pool.query(
            """
            WITH lines AS (
                SELECT s.* FROM ai_spend s
                WHERE s.organization_id = \(scope.organization) AND s.day >= \(first) AND s.day < \(past)
                  AND (\(scope.user)::uuid IS NULL OR s.user_id = \(scope.user))
                UNION ALL
                SELECT l.organization_id, (l.settled_at AT TIME ZONE 'UTC')::date, l.user_id, l.provider, l.model, i.client,
                       coalesce(i.task_id, \(Self.noTask)), 1, l.input_tokens,
                       l.cache_read_input_tokens, l.cache_write_5m_tokens, l.cache_write_1h_tokens, l.output_tokens,
                       l.reasoning_tokens, l.web_searches, l.cost
                FROM (\(Self.behind(limit: 1_000_000))) b
                JOIN ai_ledger l ON l.interception_id = b.interception_id AND l.attempt = b.attempt
                JOIN ai_interceptions i ON i.id = l.interception_id
                WHERE l.organization_id = \(scope.organization) AND (\(scope.user)::uuid IS NULL OR l.user_id = \(scope.user))
                  AND (l.settled_at AT TIME ZONE 'UTC')::date >= \(first) AND (l.settled_at AT TIME ZONE 'UTC')::date < \(past)
                UNION ALL
                -- What re-rating changed, on the day of the booking; there are few.
                SELECT c.organization_id, (l.settled_at AT TIME ZONE 'UTC')::date, c.user_id, c.provider, c.model, i.client,
                       coalesce(i.task_id, \(Self.noTask)), 0, 0, 0, 0, 0, 0, 0, 0, c.amount
                FROM ai_corrections c
                JOIN ai_ledger l ON l.interception_id = c.interception_id AND l.attempt = c.attempt
                JOIN ai_interceptions i ON i.id = l.interception_id
                WHERE c.organization_id = \(scope.organization) AND (\(scope.user)::uuid IS NULL OR c.user_id = \(scope.user))
                  AND (l.settled_at AT TIME ZONE 'UTC')::date >= \(first) AND (l.settled_at AT TIME ZONE 'UTC')::date < \(past)
            ), added AS (
                SELECT \(unsafeSQL: column(.user, "uuid")) AS user_id, \(unsafeSQL: column(.group, "text")) AS group_name,
                       \(unsafeSQL: column(.provider, "text")) AS provider, \(unsafeSQL: column(.model, "text")) AS model, \(unsafeSQL: column(.client, "text")) AS client,
                       \(unsafeSQL: column(.task, "uuid")) AS task_id, \(unsafeSQL: column(.day, "date")) AS day,
                       sum(calls)::bigint AS calls, sum(input_tokens)::bigint AS input,
                       sum(cache_read_input_tokens)::bigint AS cache_read, sum(cache_write_5m_tokens)::bigint AS cache_5m,
                       sum(cache_write_1h_tokens)::bigint AS cache_1h, sum(output_tokens)::bigint AS output,
                       sum(reasoning_tokens)::bigint AS reasoning, sum(web_searches)::bigint AS searches, sum(cost)::bigint AS cost
                FROM \(unsafeSQL: Self.source(by)) s \(unsafeSQL: by.isEmpty ? "HAVING count(*) > 0" : "GROUP BY " + by.map { "s." + $0 }.joined(separator: ", "))
                ORDER BY sum(cost) DESC \(unsafeSQL: by.map { ", s." + $0 }.joined()) LIMIT \(query.limit)
            )
            SELECT b.first::text AS first, a.user_id, u.username, a.group_name, a.provider, a.model, a.client,
                   nullif(a.task_id, \(Self.noTask)) AS task_id, a.day::text AS day, a.calls, a.input, a.cache_read, a.cache_5m, a.cache_1h,
                   a.output, a.reasoning, a.searches, a.cost
            FROM (SELECT \(first) AS first) b LEFT JOIN added a ON true LEFT JOIN users u ON u.id = a.user_id
            ORDER BY a.cost DESC, u.username, a.day, a.model
            """)
        let from = try rows[0]["first", as: String.self]
        if let to = query.to, to <= from {
            throw AppError(
                .badRequest, "to is \(to), the first day that is not meant; it must be after \(from), the first one that is.",
                field: "to")
        }
        let lines = try rows.filter { try $0["calls", as: Int?.self] != nil }.map { row in
            SpendLine(
                user: try row["user_id"], username: try row["username"], group: try row["group_name"],
                provider: try row["provider"],
                model: try row["model"], client: try row["client"], task: try row["task_id"], day: try row["day"],
                calls: try row["calls"],
                usage: try InterceptionStore.usage(row), cost: try row["cost"])
        }
        return (from, lines)
    }

    /// What is added up: the lines themselves, or, by group, what each person spent beside each group that the person is in.
    private static func source(_ by: [String]) -> String {
        guard by.contains("group_name") else { return "lines" }
        let others = (["user_id"] + by.filter { $0 != "group_name" && $0 != "user_id" }).map { "s.\($0)" }.joined(separator: ", ")
        let sums = [
            "calls", "input_tokens", "cache_read_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens",
            "reasoning_tokens", "web_searches", "cost",
        ].map { "sum(s.\($0)) AS \($0)" }.joined(separator: ", ")
        return """
            (SELECT p.*, g.name AS group_name FROM (SELECT \(others), \(sums) FROM lines s GROUP BY \(others)) p
             LEFT JOIN group_members m ON m.user_id = p.user_id LEFT JOIN groups g ON g.id = m.group_id)
            """
    }

    /// - Parameter period: `2026-11`; nil is this month, by the database's clock.
    package func usage(_ scope: InterceptionScope, period: String? = nil) async throws -> (period: String, lines: [UsageLine]) {
        guard let period else {
            let (from, lines) = try await spend(scope, SpendQuery())
            return (String(from.prefix(7)), lines.compactMap(UsageLine.init))
        }
        guard let match = period.wholeMatch(of: /([0-9]{4})-(0[1-9]|1[0-2])/), let year = Int(match.1), let month = Int(match.2)
        else {
            throw AppError(
                .badRequest, "period is '\(period.prefix(32))'; expected year and month such as 2026-11.", field: "period")
        }
        var query = SpendQuery()
        query.from = period + "-01"
        let next = month == 12 ? (year + 1, 1) : (year, month + 1)
        query.to = "\(String(10_000 + next.0).suffix(4))-\(String(100 + next.1).suffix(2))-01"
        return (period, try await spend(scope, query).lines.compactMap(UsageLine.init))
    }
}

extension UsageLine {
    fileprivate init?(_ line: SpendLine) {
        guard let user = line.user, let username = line.username, let provider = line.provider, let model = line.model else {
            return nil
        }
        self.init(
            user: user, username: username, provider: provider, model: model, calls: line.calls, usage: line.usage, cost: line.cost)
    }
}
