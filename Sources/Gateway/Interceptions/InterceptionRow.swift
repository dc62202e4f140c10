import Core
import ModelAPI
import Postgres

/// An interception as it is inserted.
struct InterceptionRow: Sendable {
    var request: HoldLoop.Request
    var placement: NewInterception.Placement
    var refusal: AppError?

    /// All rows with one statement.
    static func insert(_ rows: [InterceptionRow]) -> Query {
        let all = rows.map(\.request)
        // Of one batch, and so of one moment.
        let startedAt: Query = "timestamptz 'epoch' + \(rows.first?.placement.startedAt ?? 0)::bigint * interval '1 microsecond'"
        return """
            INSERT INTO ai_interceptions
                (id, organization_id, initiator_id, token_id, task_id, task_step, replica_id, request_id, provider, provider_name,
                 protocol, route, model, streamed, client, client_session_id, correlating_tool_call_id, thread_parent_id,
                 thread_root_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash,
                 status, error, content_mode, agent_id, parent_agent_id, agent_type, request_class, client_hints, replay_of, hedge_of, ended_at,
                 started_at)
            SELECT *, CASE WHEN t.status <> 'open' THEN now() END, \(startedAt)
            FROM unnest(\(all.map(\.interception.id.uuid)), \(all.map(\.interception.organization.uuid)), \(all.map(\.interception.initiator.uuid)), \(all.map { $0.interception.token?.uuid }),
                        \(all.map { $0.interception.task?.uuid }), \(all.map(\.interception.taskStep)), \(all.map(\.interception.replica.uuid)), \(all.map(\.interception.requestID)),
                        \(all.map(\.interception.provider)), \(all.map(\.interception.providerName)), \(all.map(\.interception.modelProtocol)), \(all.map(\.interception.route)),
                        \(all.map(\.interception.model)), \(all.map(\.interception.isStreamed)), \(all.map(\.interception.client)), \(all.map(\.interception.clientSession)),
                        \(all.map(\.interception.toolCall)), \(rows.map(\.placement.threadParent)), \(rows.map(\.placement.threadRoot)),
                        \(all.map(\.interception.credentialHint)), \(all.map(\.interception.policy)), \(all.map(\.interception.price)), \(rows.map(\.placement.hold.value)),
                        \(all.map(\.interception.requestHash)), \(all.map(\.interception.requestSize)), \(all.map(\.interception.promptHash)),
                        \(rows.map(\.status)), \(rows.map { $0.refusal?.code.rawValue }),
                        \(all.map(\.interception.contentMode.rawValue)), \(all.map(\.interception.agent?.id)), \(all.map(\.interception.agent?.parent)),
                        \(all.map(\.interception.agent?.type)), \(all.map(\.interception.agent?.requestClass)), \(all.map(\.interception.agent?.hints)),
                        \(all.map { $0.interception.replayOf?.uuid }), \(all.map { $0.interception.hedgeOf?.uuid }))
                 AS t (id, organization_id, initiator_id, token_id, task_id, task_step, replica_id, request_id, provider, provider_name,
                       protocol, route, model, streamed, client, client_session_id, correlating_tool_call_id, thread_parent_id,
                       thread_root_id, credential_hint, policy, price_id, hold, request_hash, request_size, prompt_hash, status, error,
                       content_mode, agent_id, parent_agent_id, agent_type, request_class, client_hints, replay_of, hedge_of)
            """
    }

    private var status: String { refusal != nil ? "refused" : request.interception.replayOf != nil ? "replayed" : "open" }
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
