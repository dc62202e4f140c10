import Core
import ModelAPI
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
                 status, error, content_mode, agent_id, parent_agent_id, agent_type, request_class, client_hints, replay_of, ended_at,
                 started_at)
            SELECT *, CASE WHEN t.status <> 'open' THEN now() END, now()
            FROM unnest(\(all.map(\.id.uuid)), \(all.map(\.organization.uuid)), \(all.map(\.initiator.uuid)), \(all.map { $0.token?.uuid }),
                        \(all.map { $0.task?.uuid }), \(all.map(\.taskStep)), \(all.map(\.replica.uuid)), \(all.map(\.requestID)),
                        \(all.map(\.provider)), \(all.map(\.providerName)), \(all.map(\.modelProtocol)), \(all.map(\.route)),
                        \(all.map(\.model)), \(all.map(\.isStreamed)), \(all.map(\.client)), \(all.map(\.clientSession)),
                        \(all.map(\.toolCall)), \(rows.map(\.placement.threadParent)), \(rows.map(\.placement.threadRoot)),
                        \(all.map(\.credentialHint)), \(all.map(\.policy)), \(all.map(\.price)), \(rows.map(\.placement.hold.value)),
                        \(all.map(\.requestHash)), \(all.map(\.requestSize)), \(all.map(\.promptHash)),
                        \(rows.map(\.status)), \(rows.map { $0.refusal?.code.rawValue }),
                        \(all.map(\.contentMode.rawValue)), \(all.map(\.agent?.id)), \(all.map(\.agent?.parent)),
                        \(all.map(\.agent?.type)), \(all.map(\.agent?.requestClass)), \(all.map(\.agent?.hints)),
                        \(all.map { $0.replayOf?.uuid }))
                 AS t (id, organization_id, initiator_id, token_id, task_id, task_step, replica_id, request_id, provider, provider_name,
                       protocol, route, model, streamed, client, client_session_id, correlating_tool_call_id, thread_parent_id,
                       thread_root_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash, status, error,
                       content_mode, agent_id, parent_agent_id, agent_type, request_class, client_hints, replay_of)
            """
    }

    private var status: String { refusal != nil ? "refused" : interception.replayOf != nil ? "replayed" : "open" }
}

extension ClientAgent {
    /// - Returns: nil for a row that names none.
    init?(_ row: Row) throws {
        self.init(
            id: try row["agent_id"], parent: try row["parent_agent_id"], type: try row["agent_type"],
            requestClass: try row["request_class"], hints: try row["client_hints"])
        if self == ClientAgent() { return nil }
    }

    var storable: ClientAgent {
        ClientAgent(
            id: id?.storable, parent: parent?.storable, type: type?.storable, requestClass: requestClass?.storable,
            hints: hints?.storable)
    }
}
