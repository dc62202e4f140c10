import Core
import Foundation
import Postgres

/// A call of a tool as auditors read it.
package struct RecordedToolCall: Sendable {
    package var id: UUID
    package var user: UserID
    package var username: String?
    package var task: TaskID?
    /// The model call whose answer asked for it, where the client told the model's id of the call.
    package var interception: InterceptionID?
    package var client: String
    package var server: String
    package var tool: String
    package var toolUseID: String?
    package var decision: String
    package var rule: String
    /// JSON; nil when it was removed.
    package var arguments: String?
    package var startedAt: Date
    /// `unknown` when the server process died before the result.
    package var status: String
    package var result: String?
    package var error: String?
    package var microseconds: Int64?
    package var endedAt: Date?
    /// What rules found in its arguments, decided about it, and found in its result.
    package var findings: [ContentFinding] = []
}

/// Which calls of tools are asked for; nil fields do not narrow.
package struct ToolCallFilter: Sendable {
    package var user: UserID?
    package var server: String?
    package var tool: String?
    package var decision: String?
    package var status: String?
    package var task: TaskID?
    package var startedAfter: Date?
    package var startedBefore: Date?

    package init() {}
}

/// Reads calls of tools back, newest first.
package struct ToolCallStore: Sendable {
    let pool: PostgresPool

    package func list(_ scope: InterceptionScope, _ filter: ToolCallFilter, _ page: PageRequest) async throws -> Page<
        RecordedToolCall
    > {
        var place: (at: Int64, id: UUID)?
        if let after = page.after {
            let parts = after.split(separator: "_")
            guard parts.count == 2, let at = Int64(parts[0]), let id = UUID(uuidString: String(parts[1])) else {
                throw AppError(.badRequest, "after is not a cursor of this list; take it from the answer before.", field: "after")
            }
            place = (at, id)
        }
        let rows = try await pool.query(
            select(
                """
                WHERE \(Self.condition(scope, filter))
                  AND (\(place?.at)::bigint IS NULL OR (c.started_at, c.id) <
                       ('epoch'::timestamptz + \(place?.at)::bigint * interval '1 microsecond', \(place?.id)))
                ORDER BY c.started_at DESC, c.id DESC LIMIT \(page.limit + 1)
                """, withContent: false))
        let items = try await withFindings(try rows.prefix(page.limit).map(Self.call), scope)
        let next =
            rows.count > page.limit
            ? try rows[page.limit - 1]["at", as: Int64.self].description + "_"
                + rows[page.limit - 1]["id", as: UUID.self].uuidString
                .lowercased() : nil
        return Page(items: items, next: next)
    }

    /// With arguments and result.
    ///
    /// - Throws: `notFound`, also for somebody else's.
    package func get(_ scope: InterceptionScope, _ id: UUID) async throws -> RecordedToolCall {
        let rows = try await pool.query(select("WHERE \(Self.condition(scope, .init())) AND c.id = \(id)", withContent: true))
        guard let row = rows.first else {
            throw AppError(.notFound, "There is no call of a tool \(id.uuidString.lowercased()).", field: "call")
        }
        return try await withFindings([try Self.call(row)], scope)[0]
    }

    private func withFindings(_ calls: [RecordedToolCall], _ scope: InterceptionScope) async throws -> [RecordedToolCall] {
        if calls.isEmpty { return calls }
        let rows = try await pool.query(
            """
            SELECT call_id, place, path, subject, rule, effect, count FROM ai_findings
            WHERE call_id = ANY(\(calls.map(\.id))) AND organization_id = \(scope.organization) ORDER BY call_id, phase DESC, n
            """)
        var findings: [UUID: [ContentFinding]] = [:]
        for row in rows { findings[try row["call_id"], default: []].append(try FindingRows.finding(row)) }
        return calls.map { call in
            var call = call
            call.findings = findings[call.id] ?? []
            return call
        }
    }

    private func select(_ rest: Query, withContent: Bool) -> Query {
        let content = withContent ? "c.arguments, r.result" : "NULL::text AS arguments, NULL::text AS result"
        return """
            SELECT c.id, c.user_id, u.username, c.task_id, c.client, c.server, c.tool, c.tool_use_id, c.decision, c.rule, c.started_at,
                   \(unsafeSQL: microseconds("c.started_at")) AS at, \(unsafeSQL: content),
                   coalesce(r.status, CASE WHEN c.started_at > now() - interval '10 minutes' THEN 'open' ELSE 'unknown' END) AS status,
                   r.error, r.duration, r.ended_at,
                   (SELECT t.interception_id FROM ai_tool_usages t JOIN ai_interceptions i ON i.id = t.interception_id
                    WHERE t.organization_id = c.organization_id AND t.provider_tool_call_id = c.tool_use_id
                      AND i.initiator_id = c.user_id LIMIT 1) AS interception_id
            FROM ai_mcp_calls c LEFT JOIN ai_mcp_results r ON r.call_id = c.id LEFT JOIN users u ON u.id = c.user_id
            \(rest)
            """
    }

    private static func condition(_ scope: InterceptionScope, _ filter: ToolCallFilter) -> Query {
        var condition: Query = "c.organization_id = \(scope.organization)"
        if let user = scope.user { condition += " AND c.user_id = \(user)" }
        if let user = filter.user { condition += " AND c.user_id = \(user)" }
        if let server = filter.server { condition += " AND c.server = \(server)" }
        if let tool = filter.tool { condition += " AND c.tool = \(tool)" }
        if let decision = filter.decision { condition += " AND c.decision = \(decision)" }
        if let status = filter.status { condition += " AND r.status = \(status)" }
        if let task = filter.task { condition += " AND c.task_id = \(task)" }
        if let after = filter.startedAfter { condition += " AND c.started_at >= \(after)" }
        if let before = filter.startedBefore { condition += " AND c.started_at < \(before)" }
        return condition
    }

    private static func call(_ row: Row) throws -> RecordedToolCall {
        RecordedToolCall(
            id: try row["id"], user: try row["user_id"], username: try row["username"], task: try row["task_id"],
            interception: try row["interception_id"], client: try row["client"], server: try row["server"], tool: try row["tool"],
            toolUseID: try row["tool_use_id"], decision: try row["decision"], rule: try row["rule"],
            arguments: try row["arguments"], startedAt: try row["started_at"], status: try row["status"], result: try row["result"],
            error: try row["error"], microseconds: try row["duration"], endedAt: try row["ended_at"])
    }
}
