import Core
import Foundation
import Postgres

/// One batch of settlements: ledger rows in, holds out, budgets and interceptions updated, audit entries linked. Settling twice is
/// harmless: a call that has its row is left alone, or corrected where the row was another server's guess (`LateSettlement`). Budgets are
/// locked last, since calls that take holds wait for them.
struct SettleTransaction {
    let chain: AuditChain
    let batch: [Settlement]

    struct Result: Sendable {
        /// Settled before, by this process (whose commit was in doubt) or by another's reaper.
        var alreadySettled = 0
        /// The database lost their interceptions in a crash, before any answer was released.
        var lost = 0
        /// The rows that were written, and those whose call now costs what its settlement says.
        var booked: Set<String> = []
        /// Booked before by a reaper, and corrected now.
        var corrected = 0
    }

    func run(_ pool: PostgresPool) async throws -> Result {
        do {
            let (result, draft) = try await pool.withTransaction(synchronousCommit: false) { connection in
                try await chain.prepare(connection)
                return try await write(connection)
            }
            if let draft { chain.committed(draft) }
            return result
        } catch {
            chain.doubt()
            throw error
        }
    }

    private func write(_ connection: PostgresConnection) async throws -> (Result, AuditChain.Draft?) {
        let ids = batch.map(\.interception.uuid)
        // A look-up for each, by what is unique: anything else would be planned by what the tables held when the plan was made, which
        // on a new database is nothing, and then read all of them for ever. EXISTS is such a thing: it may become a table of all ids.
        let rows = try await connection.query(
            """
            SELECT t.id, \(unsafeSQL: microseconds("now()")) AS now,
                   coalesce((SELECT true FROM ai_interceptions i WHERE i.id = t.id), false) AS known,
                   (SELECT l.state FROM ai_ledger l WHERE l.interception_id = t.id LIMIT 1) AS settled_as
            FROM unnest(\(ids)) AS t (id)
            """)
        var known: Set<UUID> = []
        var settled: Set<UUID> = []
        var guessed: Set<UUID> = []
        var now: Int64 = 0
        for row in rows where try row["known"] {
            let id = try row["id", as: InterceptionID.self]
            known.insert(id.uuid)
            // A call is booked once, whichever of its attempts it was.
            if let state = try row["settled_as", as: String?.self] {
                settled.insert(id.uuid)
                if state == Settlement.State.unknown.rawValue { guessed.insert(id.uuid) }
            }
            now = try row["now"]
        }
        var open: [Settlement] = []
        var late: [Settlement] = []
        for settlement in batch where known.contains(settlement.interception.uuid) {
            if settled.insert(settlement.interception.uuid).inserted {
                open.append(settlement)
            } else if settlement.state != .unknown, guessed.remove(settlement.interception.uuid) != nil {
                late.append(settlement)
            }
        }
        let lost = batch.filter { !known.contains($0.interception.uuid) }.count
        let corrections = try await LateSettlement.corrections(late, connection)
        let result = Result(
            alreadySettled: batch.count - open.count - lost - corrections.count, lost: lost,
            booked: Set((open + late).map(\.subject)), corrected: corrections.count)
        if open.isEmpty, corrections.isEmpty { return (result, nil) }
        let corrected = Set(corrections.map(\.interception))
        let recorded = open + late.filter { corrected.contains($0.interception) }
        let attempts = AttemptRows.of(recorded)
        let findings = recorded.flatMap { FindingRows.rows($0.interception.uuid, .answer, $0.organization, $0.findings) }
        let entries =
            open.map { AuditEntry(.ledger, subject: $0.subject, digest: $0.digest(at: now)) }
            + AttemptRows.entries(attempts, at: now) + FindingRows.entries(findings, at: now)
            + corrections.map { AuditEntry(.correction, subject: $0.subject, digest: $0.digest(at: now)) }
        let draft = try chain.draft(entries, at: now)
        let budgets = Array(Set(open.flatMap(\.budgets) + corrections.flatMap(\.budgets))).sorted()
        var statements = attempts.isEmpty ? [] : [AttemptRows.insert(attempts)]
        if !findings.isEmpty { statements.append(FindingRows.insert(findings, at: now)) }
        if !open.isEmpty { statements += [Self.insert(open), Self.end(open)] }
        if !corrections.isEmpty { statements.append(CorrectionStore.insert(corrections, now)) }
        statements.append(draft.insert)
        statements.append("SELECT id FROM ai_budgets WHERE id = ANY(\(budgets)) ORDER BY id FOR UPDATE")
        // Behind the budgets, as those who take holds do.
        statements += RateRelease.statements(open)
        if !open.isEmpty { statements.append(Self.book(open)) }
        if !corrections.isEmpty { statements.append(CorrectionStore.book(corrections)) }
        try await connection.commit(after: statements)
        return (result, draft)
    }

    private static func insert(_ rows: [Settlement]) -> Query {
        """
        INSERT INTO ai_ledger
            (interception_id, attempt, organization_id, user_id, budget_ids, provider, model, state, input_tokens,
             cache_read_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, web_searches,
             ttl_unknown, service_tier, hold, cost, price_id, answer_hash, answer_size, tools_hash, settled_at)
        SELECT id, attempt, organization_id, user_id, string_to_array(budgets, ',')::bigint[], provider, model, state, input, cache_read,
               cache_5m, cache_1h, output, reasoning, searches, ttl_unknown, service_tier, hold, cost, price, answer_hash,
               answer_size, tools_hash, now()
        FROM unnest(\(rows.map(\.interception.uuid)), \(rows.map(\.attempt)), \(rows.map(\.organization.uuid)), \(rows.map(\.user.uuid)),
                    \(rows.map { $0.budgets.map(String.init).joined(separator: ",") }), \(rows.map(\.provider)), \(rows.map(\.model)),
                    \(rows.map(\.state.rawValue)), \(rows.map(\.usage.input)), \(rows.map(\.usage.cacheRead)),
                    \(rows.map(\.usage.cacheWrite5m)), \(rows.map(\.usage.cacheWrite1h)), \(rows.map(\.usage.output)),
                    \(rows.map(\.usage.reasoning)), \(rows.map(\.usage.webSearches)), \(rows.map(\.usage.ttlUnknown)),
                    \(rows.map { $0.usage.serviceTier?.rawValue }),
                    \(rows.map(\.hold.value)), \(rows.map(\.cost.value)), \(rows.map(\.price)), \(rows.map(\.answerHash)),
                    \(rows.map(\.answerSize)), \(rows.map(\.toolsHash)))
             AS t (id, attempt, organization_id, user_id, budgets, provider, model, state, input, cache_read, cache_5m, cache_1h, output,
                   reasoning, searches, ttl_unknown, service_tier, hold, cost, price, answer_hash, answer_size, tools_hash)
        """
    }

    /// Takes the holds away and books the costs, on each budget once. What a missing hold held is not given back.
    private static func book(_ rows: [Settlement]) -> Query {
        """
        WITH settled AS (
            SELECT * FROM unnest(\(rows.map(\.interception.uuid)), \(rows.map(\.cost.value)),
                                 \(rows.map { $0.budgets.map(String.init).joined(separator: ",") })) AS t (id, cost, budgets)
        ), released AS (
            DELETE FROM ai_holds h USING settled s WHERE h.interception_id = s.id
            RETURNING h.interception_id, h.amount
        ), sums AS (
            SELECT b.id, sum(s.cost)::bigint AS cost, coalesce(sum(r.amount), 0)::bigint AS amount
            FROM settled s
            CROSS JOIN LATERAL unnest(string_to_array(s.budgets, ',')::bigint[]) AS b (id)
            LEFT JOIN released r ON r.interception_id = s.id
            GROUP BY b.id
        )
        UPDATE ai_budgets b SET held = b.held - sums.amount, spent = b.spent + sums.cost FROM sums WHERE b.id = sums.id
        """
    }

    private static func end(_ rows: [Settlement]) -> Query {
        """
        UPDATE ai_interceptions i
        SET ended_at = now(), status = t.status, http_status = t.http_status, error = t.error,
            provider_response_id = t.response_id, stop_reason = t.stop_reason, first_token_ms = t.first_token_ms
        FROM unnest(\(rows.map(\.interception.uuid)), \(rows.map(\.ending.status.rawValue)), \(rows.map(\.ending.httpStatus)),
                    \(rows.map(\.ending.error)), \(rows.map(\.ending.responseID)), \(rows.map(\.ending.stopReason)),
                    \(rows.map { $0.firstToken?.milliseconds }))
             AS t (id, status, http_status, error, response_id, stop_reason, first_token_ms)
        WHERE i.id = t.id
        """
    }
}
