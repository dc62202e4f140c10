import Foundation

/// Which fields a record's canonical bytes have, by the name that stands first in them. Forms are never changed: a new field is a
/// new form.
package struct RecordForm: Sendable {
    package enum Kind: Character, Sendable {
        case text = "s"
        case bytes = "b"
        case number = "i"
        case flag = "t"
        case id = "u"
        case numbers = "a"
    }

    package var name: String
    package var fields: [(name: String, kind: Kind)]
    /// A field that some records of this form have behind the others: it was added before every new field became a new form.
    package var tail: (name: String, kind: Kind)?

    package static func named(_ name: String) -> RecordForm? { all[name] }

    /// `name:kind` each, in the order of the canonical bytes.
    private init(_ name: String, _ fields: String, tail: (name: String, kind: Kind)? = nil) {
        self.name = name
        self.tail = tail
        self.fields = fields.split(separator: " ").map { field in
            let parts = field.split(separator: ":")
            guard parts.count == 2, let letter = parts[1].first, let kind = Kind(rawValue: letter) else {
                preconditionFailure("\(field) is no field of \(name)")
            }
            return (String(parts[0]), kind)
        }
    }

    private static let interception = """
        id:u organization_id:u initiator_id:u token_id:u task_id:u task_step:i replica_id:u request_id:s provider:s provider_name:s \
        protocol:s route:s model:s streamed:t client:s client_session_id:s correlating_tool_call_id:s thread_parent_id:u \
        thread_root_id:u credential_hint:s policy:s price_id:s hold:i request_hash:b request_size:i prompt_hash:b started_at:i refusal:s
        """

    private static let ledger = """
        interception_id:u attempt:i organization_id:u user_id:u budget_ids:a provider:s model:s state:s input_tokens:i \
        cache_read_input_tokens:i cache_write_5m_tokens:i cache_write_1h_tokens:i output_tokens:i reasoning_tokens:i \
        web_searches:i ttl_unknown:t hold:i cost:i price_id:s answer_hash:b answer_size:i tools_hash:b settled_at:i status:s \
        http_status:i error:s provider_response_id:s stop_reason:s
        """

    private static let all: [String: RecordForm] = {
        let forms = [
            RecordForm("interception-1", interception),
            RecordForm("interception-2", interception + " content_mode:s"),
            RecordForm("interception-3", interception + " content_mode:s replay_of:u"),
            RecordForm("interception-4", interception + " content_mode:s replay_of:u hedge_of:u"),
            RecordForm("ledger-1", ledger, tail: ("service_tier", .text)),
            RecordForm("ledger-2", ledger + " service_tier:s"),
            RecordForm("ledger-3", ledger + " service_tier:s first_token_ms:i"),
            RecordForm(
                "correction-1",
                """
                interception_id:u attempt:i n:i run_id:u organization_id:u actor_id:u user_id:u budget_ids:a provider:s model:s \
                cost_before:i cost_after:i price_id:s at:i
                """),
            RecordForm(
                "tool-1",
                """
                id:u organization_id:u user_id:u token_id:u task_id:u session_id:u client:s server_id:u server:s tool:s tool_use_id:s \
                decision:s rule:s arguments_hash:b arguments_size:i request_id:s replica_id:u at:i
                """),
            RecordForm(
                "tool-result-1",
                "call_id:u organization_id:u status:s result_hash:b result_size:i error:s duration:i at:i"),
            RecordForm(
                "attempt-1",
                """
                interception_id:u attempt:i organization_id:u provider:s model:s credential_hint:s http_status:i error:s began_ms:i ended_ms:i at:i
                """),
            RecordForm(
                "finding-1", "id:s organization_id:u place:s path:s subject:s rule:s effect:s count:i at:i"),
            RecordForm("fact-1", "id:u organization_id:u actor_id:u kind:s subject:s body:s at:i"),
        ]
        return Dictionary(uniqueKeysWithValues: (forms + forms.compactMap(withAgent)).map { ($0.name, $0) })
    }()

    /// Calls whose clients name their agents have the fields of any other, and these behind them.
    private static func withAgent(_ form: RecordForm) -> RecordForm? {
        guard form.name.hasPrefix("interception-") else { return nil }
        var form = form
        form.name += "-agent"
        form.fields += ["agent_id", "parent_agent_id", "agent_type", "request_class", "client_hints"].map { ($0, .text) }
        return form
    }
}
