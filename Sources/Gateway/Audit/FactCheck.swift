import Core
import Foundation
import ModelAPI
import Postgres

/// Compares entries with the rows that they are about.
struct FactCheck {
    let connection: PostgresConnection

    func check(_ page: [AuditLink], _ report: inout AuditReport) async throws {
        func subjects(_ kind: AuditEntry.Kind) -> [String] { page.filter { $0.kind == kind.rawValue }.map(\.subject) }
        var derived: [String: [String: Data]] = [:]
        derived[AuditEntry.Kind.interception.rawValue] = try await interceptions(subjects(.interception))
        derived[AuditEntry.Kind.ledger.rawValue] = try await ledger(subjects(.ledger))
        derived[AuditEntry.Kind.attempt.rawValue] = try await AttemptRows.digests(subjects(.attempt), connection)
        derived[AuditEntry.Kind.fact.rawValue] = try await facts(subjects(.fact))
        derived[AuditEntry.Kind.tool.rawValue] = try await toolCalls(subjects(.tool))
        derived[AuditEntry.Kind.toolResult.rawValue] = try await toolResults(subjects(.toolResult))
        for entry in page {
            guard let digests = derived[entry.kind] else {
                report.add(
                    .changed, chain: entry.chain, n: entry.n, subject: entry.subject,
                    "The entry is of the unknown kind '\(entry.kind)'.")
                continue
            }
            let name = "\(entry.kind) \(entry.subject)"
            guard let digest = digests[entry.subject] else {
                report.add(.removed, chain: entry.chain, n: entry.n, subject: entry.subject, "The row of \(name) is missing.")
                continue
            }
            if digest != entry.digest {
                report.add(.changed, chain: entry.chain, n: entry.n, subject: entry.subject, "The row of \(name) was changed.")
            }
        }
    }

    private func interceptions(_ subjects: [String]) async throws -> [String: Data] {
        if subjects.isEmpty { return [:] }
        let rows = try await connection.query(
            """
            SELECT *, \(unsafeSQL: microseconds("started_at")) AS started FROM ai_interceptions
            WHERE id = ANY(\(subjects.compactMap { UUID(uuidString: $0) }))
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let id = try row["id", as: InterceptionID.self]
                let status = try row["status", as: String.self]
                let digest = InterceptionDigest.digest(
                    .init(
                        id: id, organization: try row["organization_id"], initiator: try row["initiator_id"],
                        token: try row["token_id"],
                        task: try row["task_id"], taskStep: try row["task_step"], replica: try row["replica_id"],
                        requestID: try row["request_id"], provider: try row["provider"], providerName: try row["provider_name"],
                        modelProtocol: try row["protocol"], route: try row["route"], model: try row["model"],
                        isStreamed: try row["streamed"],
                        client: try row["client"], clientSession: try row["client_session_id"],
                        toolCall: try row["correlating_tool_call_id"],
                        threadParent: try row["thread_parent_id"], threadRoot: try row["thread_root_id"],
                        credentialHint: try row["credential_hint"], policy: try row["policy"], price: try row["price_id"],
                        hold: try row["hold"], requestHash: try row["request_hash"], requestSize: try row["request_size"],
                        promptHash: try row["prompt_hash"], startedAt: try row["started"],
                        refusal: status == "refused" ? try row["error"] : nil))
                return (id.description, digest)
            })
    }

    private func ledger(_ subjects: [String]) async throws -> [String: Data] {
        if subjects.isEmpty { return [:] }
        let ids = subjects.compactMap { UUID(uuidString: String($0.prefix { $0 != "/" })) }
        let rows = try await connection.query(
            """
            SELECT l.*, \(unsafeSQL: microseconds("l.settled_at")) AS settled, i.status, i.http_status, i.error, i.provider_response_id,
                   i.stop_reason, i.ended_at = l.settled_at AS is_end
            FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id
            WHERE l.interception_id = ANY(\(ids))
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let id = try row["interception_id", as: InterceptionID.self]
                let attempt = try row["attempt", as: Int.self]
                let usage = Usage(
                    input: try row["input_tokens"], cacheRead: try row["cache_read_input_tokens"],
                    cacheWrite5m: try row["cache_write_5m_tokens"],
                    cacheWrite1h: try row["cache_write_1h_tokens"], output: try row["output_tokens"],
                    reasoning: try row["reasoning_tokens"],
                    webSearches: try row["web_searches"], ttlUnknown: try row["ttl_unknown"])
                var digest = LedgerDigest.digest(
                    .init(
                        interception: id, attempt: attempt, organization: try row["organization_id"], user: try row["user_id"],
                        budgets: try row["budget_ids"], provider: try row["provider"], model: try row["model"],
                        state: try row["state"],
                        usage: usage, hold: try row["hold"], cost: try row["cost"], price: try row["price_id"],
                        answerHash: try row["answer_hash"], answerSize: try row["answer_size"], toolsHash: try row["tools_hash"],
                        settledAt: try row["settled"], status: try row["status"], httpStatus: try row["http_status"],
                        error: try row["error"],
                        responseID: try row["provider_response_id"], stopReason: try row["stop_reason"]))
                // The end of a call is the moment of its booking.
                if try row["is_end", as: Bool?.self] != true { digest = Data() }
                return ("\(id)/\(attempt)", digest)
            })
    }

    private func facts(_ subjects: [String]) async throws -> [String: Data] {
        if subjects.isEmpty { return [:] }
        let rows = try await connection.query(
            """
            SELECT id, organization_id, actor_id, kind, subject, body, \(unsafeSQL: microseconds("at")) AS at FROM audit_facts
            WHERE id = ANY(\(subjects.compactMap { UUID(uuidString: $0) }))
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let fact = AuditFacts.Fact(
                    id: try row["id"], organization: try row["organization_id"], actor: try row["actor_id"], kind: try row["kind"],
                    subject: try row["subject"], body: try row["body"])
                return (fact.id.uuidString.lowercased(), fact.digest(at: try row["at"]))
            })
    }

    // MARK: What no entry tells of

    /// Rows that no entry is about, and rows that several are about.
    func checkUnrecorded(_ report: inout AuditReport) async throws {
        for (kind, subject, table) in [
            ("interception", "t.id::text", "ai_interceptions"),
            ("ledger", "t.interception_id::text || '/' || t.attempt", "ai_ledger"),
            ("attempt", "t.interception_id::text || '/' || t.attempt", "ai_attempts"), ("fact", "t.id::text", "audit_facts"),
            ("tool", "t.id::text", "ai_mcp_calls"), ("tool_result", "t.call_id::text", "ai_mcp_results"),
        ] {
            let rows = try await connection.query(
                """
                SELECT \(unsafeSQL: subject) AS subject FROM \(unsafeSQL: table) t
                WHERE NOT EXISTS (SELECT FROM audit_entries e WHERE e.kind = \(kind) AND e.subject = \(unsafeSQL: subject)) LIMIT 1001
                """)
            for row in rows {
                let subject = try row["subject", as: String.self]
                report.add(.inserted, subject: subject, "The row of \(kind) \(subject) has no audit entry: it was put in.")
            }
        }
        let twice = try await connection.query(
            "SELECT kind, subject, count(*) AS times FROM audit_entries GROUP BY kind, subject HAVING count(*) > 1 LIMIT 1001")
        for row in twice {
            let subject = try row["subject", as: String.self]
            report.add(
                .inserted, subject: subject,
                "\(try row["kind", as: String.self]) \(subject) has \(try row["times", as: Int.self]) audit entries.")
        }
    }

    /// A price's id is the hash of what it says.
    func checkPrices(_ report: inout AuditReport) async throws {
        let rows = try await connection.query(
            "SELECT id, organization_id, provider_type, model, valid_from, valid_to, price FROM ai_prices")
        for row in rows {
            let id = try row["id", as: String.self]
            let type = ProviderType(rawValue: try row["provider_type"])
            let price = try type.map {
                try ModelPrice(
                    providerType: $0, model: row["model"], validFrom: row["valid_from"], validTo: row["valid_to"],
                    organization: row["organization_id"], body: row["price", as: JSON<ModelPrice.Body>.self].value)
            }
            if price?.id != id {
                report.add(.changed, subject: id, "The price \(id) of \(try row["model", as: String.self]) was changed.")
            }
        }
        let missing = try await connection.query(
            "SELECT DISTINCT price_id FROM ai_ledger l WHERE NOT EXISTS (SELECT FROM ai_prices p WHERE p.id = l.price_id) LIMIT 100"
        )
        for row in missing {
            let id = try row["price_id", as: String.self]
            report.add(.removed, subject: id, "The price \(id), which ledger rows name, is missing.")
        }
    }

    /// What budgets say must be what ledger and holds add up to.
    func checkBudgets(_ report: inout AuditReport) async throws {
        let rows = try await connection.query(
            """
            SELECT b.id, b.user_id, b.period::text AS period, b.spent, b.held, coalesce(l.cost, 0)::bigint AS booked,
                   coalesce(h.amount, 0)::bigint AS holds
            FROM ai_budgets b
            LEFT JOIN (SELECT id, sum(cost) AS cost FROM ai_ledger, unnest(budget_ids) AS id GROUP BY id) l ON l.id = b.id
            LEFT JOIN (SELECT id, sum(amount) AS amount FROM ai_holds, unnest(budget_ids) AS id GROUP BY id) h ON h.id = b.id
            WHERE b.spent <> coalesce(l.cost, 0) OR b.held <> coalesce(h.amount, 0) LIMIT 1001
            """)
        for row in rows {
            let (spent, booked) = (try row["spent", as: NanoDollars.self], try row["booked", as: NanoDollars.self])
            let (held, holds) = (try row["held", as: NanoDollars.self], try row["holds", as: NanoDollars.self])
            report.add(
                .budget, subject: try row["user_id", as: UserID.self].description,
                "The budget of \(try row["period", as: String.self].prefix(7)) says \(spent) spent and \(held) held; its ledger says \(booked), its holds \(holds)."
            )
        }
    }
}
