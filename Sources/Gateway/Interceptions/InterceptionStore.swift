import Core
import Foundation
import ModelAPI
import NIOCore
import Postgres

/// Reads calls, sessions and spend back, newest first.
package struct InterceptionStore: Sendable {
    let pool: PostgresPool
    let contents: ContentStore

    static let usageSums = """
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
        let narrowing = try await InterceptionNarrowing(scope, filter, pool)
        let rows = try await pool.query(
            select(
                """
                WHERE \(narrowing.condition("i"))\(Self.before(place))
                ORDER BY i.started_at DESC, i.id DESC LIMIT \(page.limit + 1)
                """))
        let items = try rows.prefix(page.limit).map(Self.interception)
        return Page(items: items, next: rows.count > page.limit ? items.last.map { Place($0.startedAt, $0.id.uuid).text } : nil)
    }

    /// - Throws: `notFound`, also for somebody else's.
    package func get(_ scope: InterceptionScope, _ id: InterceptionID) async throws -> InterceptionDetail {
        // A call ends, and its content is written, while it is read: what is shown together was there together.
        try await pool.withSnapshot { try await get(scope, id, $0) }
    }

    private func get(
        _ scope: InterceptionScope, _ id: InterceptionID, _ connection: PostgresConnection
    ) async throws -> InterceptionDetail {
        let rows = try await connection.query(select("WHERE \(InterceptionNarrowing(scope).condition("i")) AND i.id = \(id)"))
        guard let row = rows.first else { throw AppError(.notFound, "There is no model call \(id).", field: "interception") }
        let interception = try Self.interception(row)
        let ledger = try await connection.query(
            """
            SELECT attempt, provider, model, state, input_tokens AS input, cache_read_input_tokens AS cache_read, cache_write_5m_tokens AS cache_5m,
                   cache_write_1h_tokens AS cache_1h, output_tokens AS output, reasoning_tokens AS reasoning, web_searches AS searches,
                   hold, cost, overrun, price_id, settled_at
            FROM ai_charges WHERE interception_id = \(id) ORDER BY attempt
            """
        ).map { row in
            LedgerRow(
                attempt: try row["attempt"], provider: try row["provider"], model: try row["model"], state: try row["state"],
                usage: try Self.usage(row), hold: try row["hold"],
                cost: try row["cost"], overrun: try row["overrun"], price: try row["price_id"], settledAt: try row["settled_at"])
        }
        let tools = try await connection.query(
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
        detail.findings = try await connection.query(
            """
            SELECT place, path, subject, rule, effect, count FROM ai_findings
            WHERE call_id = \(id) AND organization_id = \(scope.organization) ORDER BY phase DESC, n
            """
        ).map { try FindingRows.finding($0) }
        detail.attempts = try await connection.query(
            "SELECT * FROM ai_attempts WHERE interception_id = \(id) AND organization_id = \(scope.organization) ORDER BY attempt"
        ).map { try AttemptLine($0) }
        detail.cacheCollapse = try await cacheCollapse(scope.organization, id, connection)
        if interception.contentMode != .full {
            detail.content = interception.contentMode.rawValue
        } else if let body = try await ContentStore.body(connection, scope.organization, id, .answer) {
            detail.read(body, interception)
        } else {
            try await tellRemoval(of: id, &detail, connection)
        }
        return detail
    }

    private func tellRemoval(of id: InterceptionID, _ detail: inout InterceptionDetail, _ connection: PostgresConnection)
        async throws
    {
        let rows = try await connection.query(
            """
            SELECT f.at FROM audit_tombstones t JOIN audit_facts f ON f.id = t.fact_id
            WHERE t.what = 'content' AND t.subject = \(id.description) LIMIT 1
            """)
        guard let row = rows.first else { return }
        detail.content = "removed"
        detail.removedAt = try row["at"]
    }

    private func select(_ tail: Query) -> Query {
        """
        SELECT i.id, i.initiator_id, u.username, i.session_id, i.thread_root_id, i.thread_parent_id, i.task_id, i.task_step, i.provider,
               i.provider_name, i.protocol, i.model, i.client, i.policy, i.credential_hint, i.request_id, i.status, i.http_status, i.error,
               i.stop_reason, i.streamed, i.started_at, i.ended_at, i.first_token_ms, i.hold, i.content_mode, i.agent_id, i.parent_agent_id,
               i.agent_type, i.request_class, i.client_hints, i.replay_of, i.hedge_of, p.prompt, l.*
        FROM ai_interceptions i
        JOIN users u ON u.id = i.initiator_id
        LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
        CROSS JOIN LATERAL (SELECT \(unsafeSQL: Self.usageSums) FROM ai_charges l WHERE l.interception_id = i.id) l
        \(tail)
        """
    }

    /// Apart from the other conditions, so that plans are made for a page's place as it is.
    static func before(_ place: Place?) -> Query {
        guard let place else { return "" }
        return " AND (i.started_at, i.id) < (\(place.at), \(place.id))"
    }

    private static func interception(_ row: Row) throws -> Interception {
        Interception(
            id: try row["id"], initiator: try row["initiator_id"], username: try row["username"], session: try row["session_id"],
            threadRoot: try row["thread_root_id"], threadParent: try row["thread_parent_id"], task: try row["task_id"],
            taskStep: try row["task_step"], provider: try row["provider"], providerName: try row["provider_name"],
            modelProtocol: try row["protocol"], model: try row["model"], client: try row["client"], policy: try row["policy"],
            credentialHint: try row["credential_hint"],
            requestID: try row["request_id"], status: try row["status"], httpStatus: try row["http_status"],
            error: try row["error"],
            stopReason: try row["stop_reason"], isStreamed: try row["streamed"], startedAt: try row["started_at"],
            endedAt: try row["ended_at"], firstToken: try row["first_token_ms", as: Int64?.self].map { .milliseconds($0) },
            prompt: try row["prompt"], usage: try usage(row), cost: try row["cost"],
            hold: try row["hold"],
            contentMode: try row["content_mode", as: String?.self].flatMap { ContentMode(rawValue: $0) } ?? .full,
            agent: try ClientAgent(row), replayOf: try row["replay_of"], hedgeOf: try row["hedge_of"])
    }

    static func usage(_ row: Row) throws -> Usage {
        Usage(
            input: try row["input"], cacheRead: try row["cache_read"], cacheWrite5m: try row["cache_5m"],
            cacheWrite1h: try row["cache_1h"], output: try row["output"], reasoning: try row["reasoning"],
            webSearches: try row["searches"])
    }
}

/// Where a page ended: a time and an id.
struct Place {
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
        guard let api = ModelProtocol(rawValue: interception.modelProtocol) else { return }
        var reader = AnswerReader(api, streamed: body.contentType.hasPrefix("text/event-stream"))
        try? reader.feed(ByteBuffer(bytes: body.bytes))
        reader.finish()
        answer = reader.text
        thoughts = reader.blocks.compactMap { block in
            if case .thinking(let text, _) = block { text } else { nil }
        }.joined(separator: "\n\n")
    }
}
