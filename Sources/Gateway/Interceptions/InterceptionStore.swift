import Core
import Foundation
import ModelAPI
import NIOCore
import Postgres

/// Reads calls, sessions and spend back, newest first.
package struct InterceptionStore: Sendable {
    let pool: PostgresPool
    let contents: ContentStore

    private static let usageSums = """
        coalesce(sum(l.input_tokens), 0)::bigint AS input, coalesce(sum(l.cache_read_input_tokens), 0)::bigint AS cache_read,
        coalesce(sum(l.cache_write_5m_tokens), 0)::bigint AS cache_5m, coalesce(sum(l.cache_write_1h_tokens), 0)::bigint AS cache_1h,
        coalesce(sum(l.output_tokens), 0)::bigint AS output, coalesce(sum(l.reasoning_tokens), 0)::bigint AS reasoning,
        coalesce(sum(l.web_searches), 0)::bigint AS searches, coalesce(sum(l.cost), 0)::bigint AS cost
        """

    // MARK: Calls

    package func list(_ scope: InterceptionScope, _ filter: InterceptionFilter, _ page: PageRequest) async throws -> Page<
        Interception
    > {
        let place = try Place(page.after)
        let rows = try await pool.query(
            select(
                """
                WHERE \(Self.condition(scope, filter))
                  AND (\(place?.at)::timestamptz IS NULL OR (i.started_at, i.id) < (\(place?.at), \(place?.id)))
                ORDER BY i.started_at DESC, i.id DESC LIMIT \(page.limit + 1)
                """))
        let items = try rows.prefix(page.limit).map(Self.interception)
        return Page(items: items, next: rows.count > page.limit ? items.last.map { Place($0.startedAt, $0.id.uuid).text } : nil)
    }

    /// - Throws: `notFound`, also for somebody else's.
    package func get(_ scope: InterceptionScope, _ id: InterceptionID) async throws -> InterceptionDetail {
        let rows = try await pool.query(select("WHERE \(Self.condition(scope, .init())) AND i.id = \(id)"))
        guard let row = rows.first else { throw AppError(.notFound, "There is no model call \(id).", field: "interception") }
        let interception = try Self.interception(row)
        let ledger = try await pool.query(
            """
            SELECT attempt, state, input_tokens AS input, cache_read_input_tokens AS cache_read, cache_write_5m_tokens AS cache_5m,
                   cache_write_1h_tokens AS cache_1h, output_tokens AS output, reasoning_tokens AS reasoning, web_searches AS searches,
                   hold, cost, overrun, price_id, settled_at
            FROM ai_charges WHERE interception_id = \(id) ORDER BY attempt
            """
        ).map { row in
            LedgerRow(
                attempt: try row["attempt"], state: try row["state"], usage: try Self.usage(row), hold: try row["hold"],
                cost: try row["cost"], overrun: try row["overrun"], price: try row["price_id"], settledAt: try row["settled_at"])
        }
        let tools = try await pool.query(
            """
            SELECT t.provider_tool_call_id AS id, t.tool, t.input, r.result, r.is_error
            FROM ai_tool_usages t
            LEFT JOIN LATERAL (
                SELECT result, is_error FROM ai_tool_results r JOIN ai_interceptions i ON i.id = r.interception_id
                WHERE r.organization_id = t.organization_id AND r.provider_tool_call_id = t.provider_tool_call_id
                  AND i.initiator_id = \(interception.initiator)
                ORDER BY i.started_at LIMIT 1
            ) r ON true
            WHERE t.interception_id = \(id) ORDER BY t.n
            """
        ).map { row in
            InterceptionDetail.Tool(
                id: try row["id"], name: try row["tool"], input: try row["input"], result: try row["result"],
                isError: try row["is_error"])
        }
        var detail = InterceptionDetail(
            interception: interception, ledger: ledger, tools: tools, answer: "", thoughts: "", content: "absent")
        detail.cacheCollapse = try await cacheCollapse(scope.organization, id)
        if let body = try await contents.body(scope.organization, id, .answer) { detail.read(body, interception) }
        return detail
    }

    private func select(_ tail: Query) -> Query {
        """
        SELECT i.id, i.initiator_id, u.username, i.session_id, i.thread_root_id, i.thread_parent_id, i.task_id, i.task_step, i.provider,
               i.provider_name, i.model, i.client, i.policy, i.credential_hint, i.request_id, i.status, i.http_status, i.error,
               i.stop_reason, i.streamed, i.started_at, i.ended_at, i.hold, p.prompt, l.*
        FROM ai_interceptions i
        JOIN users u ON u.id = i.initiator_id
        LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
        CROSS JOIN LATERAL (SELECT \(unsafeSQL: Self.usageSums) FROM ai_charges l WHERE l.interception_id = i.id) l
        \(tail)
        """
    }

    private static func condition(_ scope: InterceptionScope, _ filter: InterceptionFilter) -> Query {
        var query: Query = "i.organization_id = \(scope.organization)"
        if let user = scope.user { query += " AND i.initiator_id = \(user)" }
        if let user = filter.initiator { query += " AND i.initiator_id = \(user)" }
        if let provider = filter.provider { query += " AND i.provider = \(provider.storable)" }
        if let name = filter.providerName { query += " AND i.provider_name = \(name.storable)" }
        if let model = filter.model { query += " AND i.model = \(model.storable)" }
        if let client = filter.client { query += " AND i.client = \(client.storable)" }
        if let session = filter.session { query += " AND i.session_id = \(session.storable)" }
        if let task = filter.task { query += " AND i.task_id = \(task)" }
        if let after = filter.startedAfter { query += " AND i.started_at >= \(after)" }
        if let before = filter.startedBefore { query += " AND i.started_at < \(before)" }
        return query
    }

    private static func interception(_ row: Row) throws -> Interception {
        Interception(
            id: try row["id"], initiator: try row["initiator_id"], username: try row["username"], session: try row["session_id"],
            threadRoot: try row["thread_root_id"], threadParent: try row["thread_parent_id"], task: try row["task_id"],
            taskStep: try row["task_step"], provider: try row["provider"], providerName: try row["provider_name"],
            model: try row["model"], client: try row["client"], policy: try row["policy"],
            credentialHint: try row["credential_hint"],
            requestID: try row["request_id"], status: try row["status"], httpStatus: try row["http_status"],
            error: try row["error"],
            stopReason: try row["stop_reason"], isStreamed: try row["streamed"], startedAt: try row["started_at"],
            endedAt: try row["ended_at"], prompt: try row["prompt"], usage: try usage(row), cost: try row["cost"],
            hold: try row["hold"])
    }

    private static func usage(_ row: Row) throws -> Usage {
        Usage(
            input: try row["input"], cacheRead: try row["cache_read"], cacheWrite5m: try row["cache_5m"],
            cacheWrite1h: try row["cache_1h"], output: try row["output"], reasoning: try row["reasoning"],
            webSearches: try row["searches"])
    }

    // MARK: Sessions

    package func sessions(_ scope: InterceptionScope, _ filter: InterceptionFilter, _ page: PageRequest) async throws -> Page<
        AISession
    > {
        let place = try Place(page.after)
        let rows = try await pool.query(
            """
            WITH found AS (
                SELECT i.session_id, i.initiator_id, min(i.started_at) AS started_at,
                       CASE WHEN bool_or(i.ended_at IS NULL) THEN NULL ELSE max(i.ended_at) END AS ended_at,
                       count(DISTINCT i.id) AS calls, max(i.client) AS client, array_agg(DISTINCT i.provider_name) AS providers,
                       array_agg(DISTINCT i.model) AS models, (array_agg(i.id ORDER BY i.started_at, i.id))[1] AS first,
                       \(unsafeSQL: Self.usageSums)
                FROM ai_interceptions i LEFT JOIN ai_charges l ON l.interception_id = i.id
                WHERE \(Self.condition(scope, filter))
                GROUP BY i.session_id, i.initiator_id
            )
            SELECT f.*, u.username, (
                SELECT p.prompt FROM ai_interceptions i JOIN ai_user_prompts p ON p.interception_id = i.id
                WHERE i.organization_id = \(scope.organization) AND i.session_id = f.session_id AND i.initiator_id = f.initiator_id
                ORDER BY i.started_at LIMIT 1
            ) AS prompt
            FROM found f JOIN users u ON u.id = f.initiator_id
            WHERE \(place?.at)::timestamptz IS NULL OR (f.started_at, f.first) < (\(place?.at), \(place?.id))
            ORDER BY f.started_at DESC, f.first DESC LIMIT \(page.limit + 1)
            """)
        var next: String?
        if rows.count > page.limit {
            let last = rows[page.limit - 1]
            next = Place(try last["started_at"], try last["first"]).text
        }
        let items = try rows.prefix(page.limit).map { row in
            AISession(
                id: try row["session_id"], initiator: try row["initiator_id"], username: try row["username"],
                client: try row["client"],
                providers: try row["providers"], models: try row["models"], interceptions: try row["calls"],
                usage: try Self.usage(row),
                cost: try row["cost"], prompt: try row["prompt"], startedAt: try row["started_at"], endedAt: try row["ended_at"])
        }
        return Page(items: items, next: next)
    }

    // MARK: Spend

    /// - Parameter period: `2026-11`; nil is this month, by the database's clock.
    package func usage(_ scope: InterceptionScope, period: String? = nil) async throws -> (period: String, lines: [UsageLine]) {
        if let period, period.wholeMatch(of: /[0-9]{4}-(0[1-9]|1[0-2])/) == nil {
            throw AppError(
                .badRequest, "period is '\(period.prefix(32))'; expected year and month such as 2026-11.", field: "period")
        }
        let month = try await pool.query(
            "SELECT coalesce(\(period), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')) AS month")[0]["month", as: String.self]
        let lines = try await pool.query(
            """
            SELECT l.user_id, u.username, l.provider, l.model, count(DISTINCT l.interception_id) AS calls, \(unsafeSQL: Self.usageSums)
            FROM ai_charges l JOIN users u ON u.id = l.user_id
            WHERE l.organization_id = \(scope.organization) AND (\(scope.user)::uuid IS NULL OR l.user_id = \(scope.user))
              AND l.settled_at >= (\(month + "-01")::date)::timestamp AT TIME ZONE 'UTC'
              AND l.settled_at < ((\(month + "-01")::date) + interval '1 month') AT TIME ZONE 'UTC'
            GROUP BY l.user_id, u.username, l.provider, l.model
            ORDER BY sum(l.cost) DESC, u.username LIMIT 1000
            """
        ).map { row in
            UsageLine(
                user: try row["user_id"], username: try row["username"], provider: try row["provider"], model: try row["model"],
                calls: try row["calls"], usage: try Self.usage(row), cost: try row["cost"])
        }
        return (month, lines)
    }
}

/// Where a page ended: a time and an id.
private struct Place {
    var at: Date
    var id: UUID

    init(_ at: Date, _ id: UUID) {
        self.at = at
        self.id = id
    }

    var text: String { "\(Int64((at.timeIntervalSince1970 * 1_000_000).rounded()))_\(ID<Nouns.Interception>(id))" }

    /// - Throws: `badRequest` for what is no cursor.
    init?(_ text: String?) throws {
        guard let text else { return nil }
        let parts = text.split(separator: "_")
        guard parts.count == 2, let microseconds = Int64(parts[0]), let id = UUID(uuidString: String(parts[1])) else {
            throw AppError(.badRequest, "after is not a cursor of this list; take it from the answer before.", field: "after")
        }
        self.init(Date(timeIntervalSince1970: Double(microseconds) / 1_000_000), id)
    }
}

extension InterceptionDetail {
    fileprivate mutating func read(_ body: ContentStore.Body, _ interception: Interception) {
        content = body.state.rawValue
        let api: ModelProtocol = interception.provider == ProviderType.anthropic.rawValue ? .messages : .chatCompletions
        var reader = AnswerReader(api, streamed: body.contentType.hasPrefix("text/event-stream"))
        try? reader.feed(ByteBuffer(bytes: body.bytes))
        reader.finish()
        answer = reader.text
        thoughts = reader.blocks.compactMap { block in
            if case .thinking(let text, _) = block { text } else { nil }
        }.joined(separator: "\n\n")
    }
}
