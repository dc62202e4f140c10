import Crypto
import Foundation

/// Reads Anthropic's Messages, as strictly as the real thing where clients get it wrong: a call needs its result in the next
/// message, and a thinking block comes back as it was.
enum MessagesRequest {
    static func read(_ body: Data) throws -> DemoConversation {
        let request = try JSON.request(body)
        var conversation = DemoConversation(
            model: try request.text("model"), isStreamed: request["stream"]?.bool ?? false, maxTokens: nil,
            fingerprint: fingerprint([request["system"] ?? .null, request["messages"] ?? .null]))
        conversation.maxTokens = request["max_tokens"]?.int
        conversation.isCacheMarked = String(decoding: body, as: UTF8.self).contains("\"cache_control\"")
        conversation.preambleBytes = (request["system"].map(textBytes) ?? 0) + (request["tools"]?.text.utf8.count ?? 0)
        let messages = try request.messages()
        for (index, message) in messages.enumerated() {
            for turn in try turns(message, at: index) { conversation.append(turn) }
        }
        try checkResults(conversation)
        return conversation
    }

    /// Two for a message of the user that holds results and then words.
    private static func turns(_ message: JSON, at index: Int) throws -> [DemoConversation.Turn] {
        var turn = try turn(message, at: index)
        guard !turn.results.isEmpty, !turn.text.isEmpty else { return [turn] }
        let words = DemoConversation.Turn(role: .user, text: turn.text)
        turn.text = ""
        return [turn, words]
    }

    private static func turn(_ message: JSON, at index: Int) throws -> DemoConversation.Turn {
        let role: DemoConversation.Role =
            switch message["role"]?.string {
            case "user": .user
            case "assistant": .assistant
            default: throw RequestError.invalid("messages.\(index).role: Input should be 'user' or 'assistant'")
            }
        var turn = DemoConversation.Turn(role: role)
        if let text = message["content"]?.string {
            turn.text = text
            turn.bytes = text.utf8.count
            return turn
        }
        guard let blocks = message["content"]?.array else {
            throw RequestError.invalid("messages.\(index).content: Field required")
        }
        for (position, block) in blocks.enumerated() {
            let place = "messages.\(index).content.\(position)"
            turn.bytes += textBytes(block)
            switch block["type"]?.string {
            case "text":
                guard let text = block["text"]?.string, !text.isEmpty else {
                    throw RequestError.invalid("\(place): text content blocks must be non-empty")
                }
                turn.text += turn.text.isEmpty ? text : "\n" + text
            case "tool_use":
                guard case .object? = block["input"] else {
                    throw RequestError.invalid("\(place).tool_use.input: Input should be a valid dictionary")
                }
                turn.calls.append(.init(id: block["id"]?.string ?? "", name: block["name"]?.string ?? ""))
            case "tool_result":
                turn.results.append(
                    .init(
                        id: block["tool_use_id"]?.string ?? "", text: plainText(block["content"]),
                        isError: block["is_error"]?.bool ?? false))
            case "thinking":
                guard block["signature"]?.string == signature(of: block["thinking"]?.string ?? "") else {
                    throw RequestError.invalid("\(place): Invalid `signature` in `thinking` block")
                }
            case .some: break
            case nil: throw RequestError.invalid("\(place).type: Field required")
            }
        }
        return turn
    }

    private static func checkResults(_ conversation: DemoConversation) throws {
        for (index, turn) in conversation.turns.enumerated() where !turn.calls.isEmpty {
            let next = index + 1 < conversation.turns.count ? conversation.turns[index + 1].results.map(\.id) : []
            let missing = turn.calls.map(\.id).filter { !next.contains($0) }
            if !missing.isEmpty {
                throw RequestError.invalid(
                    "messages: `tool_use` ids were found without `tool_result` blocks immediately after: \(missing.joined(separator: ", "))"
                )
            }
        }
    }

    /// What a thinking block is signed with: not a secret, only a way to see that it was not changed.
    static func signature(of thinking: String) -> String {
        Data(SHA256.hash(data: Data("slipway-scripted:\(thinking)".utf8))).base64EncodedString()
    }
}

/// Names a conversation; the mark for the prompt cache is not part of it, as it moves on with each step.
func fingerprint(_ parts: [JSON]) -> String {
    let text = parts.map(\.withoutCacheMarks.text).joined(separator: "\n")
    return SHA256.hash(data: Data(text.utf8)).prefix(12).map { String(Int($0) | 0x100, radix: 16).dropFirst() }.joined()
}

/// The bytes of all strings in a value.
func textBytes(_ value: JSON) -> Int {
    switch value {
    case .string(let text): text.utf8.count
    case .array(let values): values.reduce(0) { $0 + textBytes($1) }
    case .object(let fields): fields.reduce(0) { $0 + ($1.key == "cache_control" ? 0 : textBytes($1.value)) }
    default: 2
    }
}

/// Content that is a string or a list of blocks with text in them.
func plainText(_ content: JSON?) -> String {
    content?.string ?? content?.array?.compactMap { $0["text"]?.string }.joined(separator: "\n") ?? ""
}

extension JSON {
    static func request(_ body: Data) throws -> JSON {
        do {
            return try JSONDecoder().decode(JSON.self, from: body)
        } catch {
            throw RequestError.invalid("the request body is not valid JSON")
        }
    }

    func text(_ key: String) throws -> String {
        guard let text = self[key]?.string, !text.isEmpty else { throw RequestError.invalid("\(key): Field required") }
        return text
    }

    func messages() throws -> [JSON] {
        guard let messages = self["messages"]?.array else { throw RequestError.invalid("messages: Field required") }
        guard !messages.isEmpty else { throw RequestError.invalid("messages: at least one message is required") }
        return messages
    }

    fileprivate var withoutCacheMarks: JSON {
        switch self {
        case .array(let values): .array(values.map(\.withoutCacheMarks))
        case .object(let fields): .object(fields.filter { $0.key != "cache_control" }.map { ($0.key, $0.value.withoutCacheMarks) })
        default: self
        }
    }
}
