import API
import Core
import Foundation

/// Conversations as lines of a file: who, with what, how much; nothing of what was said.
enum SessionCSV {
    static let columns = [
        "session_id", "started_at", "ended_at", "initiator", "client", "provider_names", "models", "interceptions", "input_tokens",
        "cache_read_input_tokens", "cache_write_input_tokens", "output_tokens", "cost_usd",
    ]

    static func cells(_ session: RecordedSession) -> [String?] {
        let usage = session.usage.shown
        return [
            session.id, APICoding.text(of: session.startedAt), session.endedAt.map(APICoding.text), session.username,
            session.client, session.providers.joined(separator: " "), session.models.joined(separator: " "),
            "\(session.interceptions)", "\(usage.inputTokens)", "\(usage.cacheReadInputTokens)",
            "\(usage.cacheWriteInputTokens)", "\(usage.outputTokens)", CSV.dollars(session.cost.value),
        ]
    }
}
