import AuditProof
import Core
import Foundation
import ModelAPI
import Postgres

/// The rows that entries are about, as they are now, in canonical bytes.
struct RecordRows {
    let connection: PostgresConnection

    /// - Returns: by kind and subject; a kind that is missing is not known.
    func read(_ page: [AuditLink]) async throws -> [String: [String: Canonical]] {
        func subjects(_ kind: AuditEntry.Kind) -> [String] { page.filter { $0.kind == kind.rawValue }.map(\.subject) }
        return [
            AuditEntry.Kind.interception.rawValue: try await interceptions(subjects(.interception)),
            AuditEntry.Kind.ledger.rawValue: try await ledger(page.filter { $0.kind == AuditEntry.Kind.ledger.rawValue }),
            AuditEntry.Kind.attempt.rawValue: try await AttemptRows.canonicals(subjects(.attempt), connection),
            AuditEntry.Kind.correction.rawValue: try await corrections(subjects(.correction)),
            AuditEntry.Kind.tool.rawValue: try await toolCalls(subjects(.tool)),
            AuditEntry.Kind.toolResult.rawValue: try await toolResults(subjects(.toolResult)),
            AuditEntry.Kind.finding.rawValue: try await FindingRows.canonicals(subjects(.finding), connection),
            AuditEntry.Kind.fact.rawValue: try await facts(subjects(.fact)),
        ]
    }

    private func interceptions(_ subjects: [String]) async throws -> [String: Canonical] {
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
                let canonical = InterceptionDigest.canonical(
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
                        refusal: status == "refused" ? try row["error"] : nil, contentMode: try row["content_mode"],
                        agent: try ClientAgent(row), replayOf: try row["replay_of"], hedgeOf: try row["hedge_of"]))
                return (id.description, canonical)
            })
    }

    private func ledger(_ links: [AuditLink]) async throws -> [String: Canonical] {
        if links.isEmpty { return [:] }
        let ids = links.compactMap { UUID(uuidString: String($0.subject.prefix { $0 != "/" })) }
        let digests = Dictionary(links.map { ($0.subject, $0.digest) }) { first, _ in first }
        let rows = try await connection.query(
            """
            SELECT l.*, \(unsafeSQL: microseconds("l.settled_at")) AS settled, i.status, i.http_status, i.error, i.provider_response_id,
                   i.stop_reason, i.first_token_ms, i.ended_at = l.settled_at AS is_end
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
                    webSearches: try row["web_searches"], ttlUnknown: try row["ttl_unknown"],
                    serviceTier: try row["service_tier", as: String?.self].flatMap(ServiceTier.init(rawValue:)))
                let digest = LedgerDigest(
                    interception: id, attempt: attempt, organization: try row["organization_id"], user: try row["user_id"],
                    budgets: try row["budget_ids"], provider: try row["provider"], model: try row["model"],
                    state: try row["state"],
                    usage: usage, hold: try row["hold"], cost: try row["cost"], price: try row["price_id"],
                    answerHash: try row["answer_hash"], answerSize: try row["answer_size"], toolsHash: try row["tools_hash"],
                    settledAt: try row["settled"], status: try row["status"], httpStatus: try row["http_status"],
                    error: try row["error"],
                    responseID: try row["provider_response_id"], stopReason: try row["stop_reason"],
                    firstToken: try row["first_token_ms"])
                let subject = "\(id)/\(attempt)"
                var canonical = LedgerDigest.canonical(digest)
                if usage.serviceTier != nil, canonical.digest != digests[subject] {
                    let first = LedgerDigest.canonical(digest, tiered: "ledger-1")
                    if first.digest == digests[subject] { canonical = first }
                }
                // The end of a call is the moment of its booking.
                let isEnd = try row["is_end", as: Bool?.self] == true
                return (subject, isEnd ? canonical : Canonical("the end of the call is another"))
            })
    }

    private func facts(_ subjects: [String]) async throws -> [String: Canonical] {
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
                return (fact.id.uuidString.lowercased(), fact.canonical(at: try row["at"]))
            })
    }
}
