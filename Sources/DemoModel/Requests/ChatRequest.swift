import Foundation

/// Reads OpenAI's Chat Completions.
enum ChatRequest {
    static func read(_ body: Data) throws -> DemoConversation {
        let request = try JSON.request(body)
        var conversation = DemoConversation(
            model: try request.text("model"), isStreamed: request["stream"]?.bool ?? false, maxTokens: nil,
            fingerprint: fingerprint([request["messages"] ?? .null]))
        conversation.maxTokens = request["max_completion_tokens"]?.int ?? request["max_tokens"]?.int
        conversation.includesUsage = request["stream_options"]?["include_usage"]?.bool ?? false
        conversation.preambleBytes = request["tools"]?.text.utf8.count ?? 0
        for (index, message) in try request.messages().enumerated() {
            let text = plainText(message["content"])
            switch message["role"]?.string {
            case "system", "developer": conversation.preambleBytes += text.utf8.count
            case "user": conversation.append(.init(role: .user, text: text, bytes: text.utf8.count))
            case "tool":
                let result = DemoConversation.Result(id: message["tool_call_id"]?.string ?? "", text: text, isError: false)
                conversation.append(.init(role: .user, results: [result], bytes: text.utf8.count))
            case "assistant":
                let calls = try (message["tool_calls"]?.array ?? []).map { call in
                    guard let id = call["id"]?.string, let name = call["function"]?["name"]?.string else {
                        throw RequestError.invalid("messages[\(index)].tool_calls: each needs an id and a function name")
                    }
                    return DemoConversation.Call(id: id, name: name)
                }
                let bytes = text.utf8.count + (message["tool_calls"].map(textBytes) ?? 0)
                conversation.append(.init(role: .assistant, text: text, calls: calls, bytes: bytes))
            default:
                throw RequestError.invalid("messages[\(index)].role: expected system, developer, user, assistant or tool")
            }
        }
        try checkResults(conversation)
        return conversation
    }

    private static func checkResults(_ conversation: DemoConversation) throws {
        for (index, turn) in conversation.turns.enumerated() where !turn.calls.isEmpty {
            let next = index + 1 < conversation.turns.count ? conversation.turns[index + 1].results.map(\.id) : []
            let missing = turn.calls.map(\.id).filter { !next.contains($0) }
            if !missing.isEmpty {
                throw RequestError.invalid(
                    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
                        + "The following tool_call_ids did not have response messages: \(missing.joined(separator: ", "))")
            }
        }
    }
}
