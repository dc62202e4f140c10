/// A reply made fit for one request: with ids, cut at the request's token limit, and counted.
struct DemoAnswer: Sendable {
    struct Call: Sendable {
        var id: String
        var name: String
        /// As they are sent; not always JSON.
        var arguments: String
    }

    var id: String
    var model: String
    var thinking: String
    var text: String
    var calls: [Call]
    /// Anthropic's word.
    var stop: String
    var usage: DemoUsage
    var unknownParts: Bool
    var pace: Reply.Pace
    var fault: Fault?
    var includesUsage: Bool

    init(_ reply: Reply, to conversation: DemoConversation, protocol kind: DemoProtocol) {
        var room = TokenRoom(tokens: conversation.maxTokens)
        thinking = room.fit(reply.thinking ?? "")
        text = room.fit(String(repeating: reply.text ?? "", count: reply.times))
        calls = []
        for (index, call) in reply.calls.enumerated() where !room.isFull {
            let prefix = kind == .messages ? "toolu_demo_" : "call_demo_"
            calls.append(Call(id: "\(prefix)\(conversation.fingerprint)_\(index)", name: call.tool, arguments: room.fit(call.text)))
        }
        id = conversation.fingerprint
        model = conversation.model
        stop = room.isFull ? "max_tokens" : reply.stop ?? (reply.calls.isEmpty ? "end_turn" : "tool_use")
        usage = DemoUsage(
            of: conversation, protocol: kind,
            outputBytes: text.utf8.count + calls.reduce(0) { $0 + $1.name.utf8.count + $1.arguments.utf8.count },
            thinkingBytes: thinking.utf8.count)
        unknownParts = reply.unknownParts
        pace = reply.pace
        fault = reply.fault
        includesUsage = conversation.includesUsage
    }

    /// A text in the pieces in which it is streamed.
    func pieces(_ text: String) -> [String] {
        var pieces: [String] = []
        var rest = text[...]
        while !rest.isEmpty {
            let piece = rest.prefix(pace.characters)
            pieces.append(String(piece))
            rest = rest[piece.endIndex...]
        }
        return pieces
    }
}

/// What is left of the request's token limit.
private struct TokenRoom {
    private var bytes: Int
    /// Whether something did not fit: nothing follows it.
    private(set) var isFull = false

    init(tokens: Int?) { bytes = tokens.map { max(1, $0) * DemoUsage.bytesPerToken } ?? Int.max }

    mutating func fit(_ text: String) -> String {
        if isFull { return "" }
        let size = text.utf8.count
        if size <= bytes {
            bytes -= size
            return text
        }
        isFull = true
        var kept = ""
        for character in text {
            bytes -= character.utf8.count
            if bytes < 0 { break }
            kept.append(character)
        }
        return kept
    }
}

/// One event of a streamed answer, as bytes of the wire.
struct StreamFrame: Sendable {
    var text: String
    /// Whether time passes before it.
    var isPaced = false
}
