import Core
import Postgres

/// An interception as it is inserted.
struct InterceptionRow: Sendable {
    var interception: NewInterception
    var placement: NewInterception.Placement
    var refusal: AppError?

    /// All rows with one statement.
    static func insert(_ rows: [InterceptionRow]) -> Query {
        let all = rows.map(\.interception)
        return """
            INSERT INTO ai_interceptions
                (id, organization_id, initiator_id, token_id, task_id, task_step, replica_id, request_id, provider, provider_name,
                 protocol, route, model, streamed, client, client_session_id, correlating_tool_call_id, thread_parent_id,
                 thread_root_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash,
                 status, error, content_mode, replay_of, ended_at, started_at)
            SELECT *, CASE WHEN t.status <> 'open' THEN now() END, now()
            FROM unnest(\(all.map(\.id.uuid)), \(all.map(\.organization.uuid)), \(all.map(\.initiator.uuid)), \(all.map { $0.token?.uuid }),
                        \(all.map { $0.task?.uuid }), \(all.map(\.taskStep)), \(all.map(\.replica.uuid)), \(all.map(\.requestID)),
                        \(all.map(\.provider)), \(all.map(\.providerName)), \(all.map(\.modelProtocol)), \(all.map(\.route)),
                        \(all.map(\.model)), \(all.map(\.isStreamed)), \(all.map(\.client)), \(all.map(\.clientSession)),
                        \(all.map(\.toolCall)), \(rows.map(\.placement.threadParent)), \(rows.map(\.placement.threadRoot)),
                        \(all.map(\.credentialHint)), \(all.map(\.policy)), \(all.map(\.price)), \(rows.map(\.placement.hold.value)),
                        \(all.map(\.requestHash)), \(all.map(\.requestSize)), \(all.map(\.promptHash)),
                        \(rows.map(\.status)), \(rows.map { $0.refusal?.code.rawValue }),
                        \(all.map(\.contentMode.rawValue)), \(all.map { $0.replayOf?.uuid }))
                 AS t (id, organization_id, initiator_id, token_id, task_id, task_step, replica_id, request_id, provider, provider_name,
                       protocol, route, model, streamed, client, client_session_id, correlating_tool_call_id, thread_parent_id,
                       thread_root_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash, status, error,
                       content_mode, replay_of)
            """
    }

    private var status: String { refusal != nil ? "refused" : interception.replayOf != nil ? "replayed" : "open" }
}
