import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import Postgres

/// Reads what was charged and appends corrections, with their entries in a ledger chain of their own: so re-rating never waits in the
/// lane of settlements.
final class CorrectionStore: Sendable {
    private let pool: PostgresPool
    private let chain: AuditChain
    private let batcher: Batcher<[Correction], Void>

    struct Place: Sendable {
        var startedAt: Date
        var id: UUID
    }

    static let pageSize = 500

    init(pool: PostgresPool, chain: AuditChain) {
        self.pool = pool
        self.chain = chain
        // One transaction of a chain at a time.
        batcher = Batcher(largest: 1) { batch in
            var results: [Result<Void, any Error>] = []
            for corrections in batch { results.append(await Self.perform(corrections, pool, chain)) }
            return results
        }
    }

    /// By when the calls began; all attempts of a call are on one page.
    func charges(
        _ organization: OrganizationID, _ from: Date, _ to: Date, model: String?, after: Place?
    ) async throws -> (charges: [Rerating.Charge], next: Place?) {
        let rows = try await pool.query(
            """
            WITH page AS (
                SELECT i.id, i.started_at FROM ai_interceptions i
                WHERE i.organization_id = \(organization) AND i.started_at >= \(from) AND i.started_at < \(to)
                  AND (\(after?.startedAt)::timestamptz IS NULL OR (i.started_at, i.id) > (\(after?.startedAt), \(after?.id)))
                ORDER BY i.started_at, i.id LIMIT \(Self.pageSize))
            SELECT page.id, page.started_at, l.attempt, l.organization_id, l.user_id, l.budget_ids, l.provider, l.model, l.state,
                   l.input_tokens, l.cache_read_input_tokens, l.cache_write_5m_tokens, l.cache_write_1h_tokens, l.output_tokens,
                   l.reasoning_tokens, l.web_searches, l.service_tier, l.cost, p.provider_type, p.model AS priced_model,
                   (SELECT count(*) FROM ai_corrections c WHERE c.interception_id = l.interception_id AND c.attempt = l.attempt)
                       AS corrections
            FROM page
            LEFT JOIN ai_charges l ON l.interception_id = page.id AND (\(model)::text IS NULL OR l.model = \(model))
            LEFT JOIN ai_prices p ON p.id = l.price_id
            ORDER BY page.started_at, page.id, l.attempt
            """)
        var charges: [Rerating.Charge] = []
        var ids: Set<UUID> = []
        for row in rows {
            ids.insert(try row["id"])
            // Without a ledger row it was refused or is under way; without a price it was never sent.
            guard let type = try row["provider_type", as: String?.self].flatMap(ProviderType.init(rawValue:)) else { continue }
            charges.append(try Self.charge(row, type))
        }
        guard ids.count == Self.pageSize, let last = rows.last else { return (charges, nil) }
        return (charges, Place(startedAt: try last["started_at"], id: try last["id"]))
    }

    private static func charge(_ row: Row, _ type: ProviderType) throws -> Rerating.Charge {
        Rerating.Charge(
            interception: try row["id"], attempt: try row["attempt"], corrections: try row["corrections"],
            organization: try row["organization_id"], user: try row["user_id"], budgets: try row["budget_ids"],
            provider: try row["provider"], type: type, model: try row["model"], pricedModel: try row["priced_model"],
            startedAt: try row["started_at"],
            usage: Usage(
                input: try row["input_tokens"], cacheRead: try row["cache_read_input_tokens"],
                cacheWrite5m: try row["cache_write_5m_tokens"], cacheWrite1h: try row["cache_write_1h_tokens"],
                output: try row["output_tokens"], reasoning: try row["reasoning_tokens"], webSearches: try row["web_searches"],
                serviceTier: try row["service_tier", as: String?.self].flatMap(ServiceTier.init(rawValue:))),
            cost: try row["cost"], isUnknown: try row["state", as: String.self] == Settlement.State.unknown.rawValue)
    }

    /// On disk when it returns.
    ///
    /// - Throws: `conflict` when a call was corrected meanwhile.
    func write(_ corrections: [Correction]) async throws { try await batcher.submit(corrections) }

    private static func perform(_ rows: [Correction], _ pool: PostgresPool, _ chain: AuditChain) async -> Result<Void, any Error> {
        do {
            let draft = try await pool.withTransaction { connection in
                try await chain.prepare(connection)
                let now: Int64 = try await connection.query("SELECT \(unsafeSQL: microseconds("clock_timestamp()")) AS now")[0][
                    "now"]
                let draft = try chain.draft(
                    rows.map { AuditEntry(.correction, subject: $0.subject, digest: $0.digest(at: now)) }, at: now)
                let budgets = Array(Set(rows.flatMap(\.budgets))).sorted()
                try await connection.commit(after: [
                    insert(rows, now), draft.insert,
                    "SELECT id FROM ai_budgets WHERE id = ANY(\(budgets)) ORDER BY id FOR UPDATE", book(rows),
                ])
                return draft
            }
            chain.committed(draft)
            return .success(())
        } catch let error as PostgresError where error.sqlState == "23505" {
            chain.doubt()
            return .failure(
                AppError(.conflict, "Another re-rating corrects the same calls. See what is left with a dry run.", cause: error))
        } catch {
            chain.doubt()
            return .failure(error)
        }
    }

    /// - Parameter now: microseconds since 1970.
    static func insert(_ rows: [Correction], _ now: Int64) -> Query {
        """
        INSERT INTO ai_corrections (interception_id, attempt, n, run_id, organization_id, actor_id, user_id, budget_ids, provider, model,
                                    cost_before, cost_after, price_id, at)
        SELECT id, attempt, n, run, organization_id, actor, user_id, string_to_array(budgets, ',')::bigint[], provider, model, before,
               after, price, 'epoch'::timestamptz + \(now)::bigint * interval '1 microsecond'
        FROM unnest(\(rows.map(\.interception.uuid)), \(rows.map(\.attempt)), \(rows.map(\.n)), \(rows.map(\.run)),
                    \(rows.map(\.organization.uuid)), \(rows.map(\.actor.uuid)), \(rows.map(\.user.uuid)),
                    \(rows.map { $0.budgets.map(String.init).joined(separator: ",") }), \(rows.map(\.provider)),
                    \(rows.map(\.model)), \(rows.map(\.costBefore.value)), \(rows.map(\.costAfter.value)), \(rows.map(\.price)))
             AS t (id, attempt, n, run, organization_id, actor, user_id, budgets, provider, model, before, after, price)
        """
    }

    /// The budgets of the time of the calls: a month that is over shows what it cost, too.
    static func book(_ rows: [Correction]) -> Query {
        """
        WITH sums AS (
            SELECT b.id, sum(c.amount)::bigint AS amount
            FROM unnest(\(rows.map { $0.costAfter.value - $0.costBefore.value }),
                        \(rows.map { $0.budgets.map(String.init).joined(separator: ",") })) AS c (amount, budgets)
            CROSS JOIN LATERAL unnest(string_to_array(c.budgets, ',')::bigint[]) AS b (id)
            GROUP BY b.id)
        UPDATE ai_budgets b SET spent = b.spent + sums.amount FROM sums WHERE b.id = sums.id
        """
    }
}
