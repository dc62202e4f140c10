import API
import Core
import Foundation

/// Calls as lines of a file: what they were and what they cost, nothing of what was said.
enum InterceptionCSV {
    static let columns = [
        "id", "started_at", "ended_at", "initiator", "provider_name", "model", "client", "session_id", "task_id", "policy",
        "status",
        "http_status", "error", "input_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "output_tokens", "cost_usd",
        "content_mode", "request_id", "first_token_ms",
    ]

    static func cells(_ call: RecordedCall) -> [String?] {
        let usage = call.usage.shown
        return [
            call.id.description, APICoding.text(of: call.startedAt), call.endedAt.map(APICoding.text), call.username,
            call.providerName, call.model, call.client, call.session, call.task?.description, call.policy, call.status,
            call.httpStatus.map { "\($0)" }, call.error, "\(usage.inputTokens)", "\(usage.cacheReadInputTokens)",
            "\(usage.cacheWriteInputTokens)", "\(usage.outputTokens)", CSV.dollars(call.cost.value), call.contentMode.rawValue,
            call.requestID, call.firstToken.map { "\(Int64($0 / .milliseconds(1)))" },
        ]
    }
}
