import Core
import Foundation
import Postgres

extension InterceptionStore {
    /// Newest first, by their first call that the filter lets through; what is summed are the calls that it lets through.
    ///
    /// Walks the calls in the order of an index and takes those that have none before them in their session, so that a page costs what is on
    /// it, not what there is.
    package func sessions(_ scope: InterceptionScope, _ filter: InterceptionFilter, _ page: PageRequest) async throws -> Page<
        AISession
    > {
        let place = try Place(page.after)
        let narrowing = try await InterceptionNarrowing(scope, filter, pool)
        let rows = try await pool.query(
            """
            WITH first AS MATERIALIZED (
                SELECT i.id, i.started_at, i.session_id, i.initiator_id FROM ai_interceptions i
                WHERE \(narrowing.condition("i"))\(Self.before(place)) AND NOT EXISTS (
                    SELECT FROM ai_interceptions e
                    WHERE \(narrowing.condition("e", isOfSession: true)) AND e.session_id = i.session_id AND e.initiator_id = i.initiator_id
                      AND (e.started_at, e.id) < (i.started_at, i.id))
                ORDER BY i.started_at DESC, i.id DESC LIMIT \(page.limit + 1)
            )
            SELECT f.id AS first, f.session_id, f.initiator_id, f.started_at, u.username, a.*, (
                SELECT p.prompt FROM ai_interceptions i JOIN ai_user_prompts p ON p.interception_id = i.id
                WHERE i.organization_id = \(scope.organization) AND i.session_id = f.session_id AND i.initiator_id = f.initiator_id
                ORDER BY i.started_at LIMIT 1
            ) AS prompt
            FROM first f JOIN users u ON u.id = f.initiator_id CROSS JOIN LATERAL (
                SELECT CASE WHEN bool_or(s.ended_at IS NULL) THEN NULL ELSE max(s.ended_at) END AS ended_at,
                       count(DISTINCT s.id) AS calls, max(s.client) AS client, array_agg(DISTINCT s.provider_name) AS providers,
                       array_agg(DISTINCT s.model) AS models, \(unsafeSQL: Self.usageSums)
                FROM ai_interceptions s LEFT JOIN ai_charges l ON l.interception_id = s.id
                WHERE \(narrowing.condition("s", isOfSession: true)) AND s.session_id = f.session_id AND s.initiator_id = f.initiator_id
            ) a
            ORDER BY f.started_at DESC, f.id DESC
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
}
