import Core
import Foundation
import ModelAPI
import Postgres

extension InterceptionStore {
    /// The calls of one session, added up by thread and agent.
    ///
    /// - Throws: `notFound` when there are none that the scope may see; `tooLarge` for a session of more parts than can be shown.
    package func tree(_ scope: InterceptionScope, session: String) async throws -> SessionTree {
        var filter = InterceptionFilter()
        filter.session = session
        let narrowing = try await InterceptionNarrowing(scope, filter, pool)
        let rows = try await pool.query(
            """
            SELECT i.initiator_id, u.username, coalesce(i.thread_root_id, i.id) AS thread, i.agent_id, i.parent_agent_id,
                   max(i.client) AS client, max(i.agent_type) AS agent_type, min(i.request_class) AS request_class,
                   NULL::text AS client_hints, count(DISTINCT i.id) AS calls, min(i.started_at) AS started_at,
                   CASE WHEN bool_or(i.ended_at IS NULL) THEN NULL ELSE max(i.ended_at) END AS ended_at,
                   (array_agg(left(p.prompt, 400) ORDER BY i.started_at, i.id) FILTER (WHERE p.prompt IS NOT NULL))[1] AS prompt,
                   \(unsafeSQL: Self.usageSums)
            FROM ai_interceptions i JOIN users u ON u.id = i.initiator_id
            LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
            LEFT JOIN ai_charges l ON l.interception_id = i.id
            WHERE \(narrowing.condition("i"))
            GROUP BY i.initiator_id, u.username, thread, i.agent_id, i.parent_agent_id
            ORDER BY min(i.started_at), thread LIMIT \(Self.mostParts + 1)
            """)
        guard !rows.isEmpty else { throw AppError(.notFound, "There is no session '\(session.prefix(80))'.", field: "session") }
        guard rows.count <= Self.mostParts else {
            throw AppError(
                .tooLarge,
                "The session has more than \(Self.mostParts) threads and agents; read its calls at ai-gateway/sessions/<id>.",
                field: "session")
        }
        return SessionTree(
            try rows.map { row in
                SessionTree.Part(
                    initiator: try row["initiator_id"], username: try row["username"], client: try row["client"],
                    thread: try row["thread"], agent: try ClientAgent(row),
                    sum: .init(interceptions: try row["calls"], usage: try Self.usage(row), cost: try row["cost"]),
                    prompt: try row["prompt"], startedAt: try row["started_at"], endedAt: try row["ended_at"])
            })
    }

    static let mostParts = 5000
}
