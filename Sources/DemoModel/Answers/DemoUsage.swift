/// Token counts: four bytes are one token. They follow from the sizes of the messages, so that they can be computed again.
struct DemoUsage: Sendable, Equatable {
    static let bytesPerToken = 4
    /// No provider caches a shorter prefix.
    static let smallestCachedPrefix = 1024

    /// Disjoint classes of input.
    var input: Int
    var cacheRead = 0
    var cacheWrite = 0
    /// Thinking included.
    var output: Int
    var thinking = 0

    static func tokens(bytes: Int) -> Int { (bytes + bytesPerToken - 1) / bytesPerToken }

    /// The whole prompt of a conversation, with a few tokens around each turn.
    static func promptTokens(of conversation: DemoConversation, turns: Int? = nil) -> Int {
        let counted = conversation.turns.prefix(turns ?? conversation.turns.count)
        return counted.reduce(8 + tokens(bytes: conversation.preambleBytes)) { $0 + 4 + tokens(bytes: $1.bytes) }
    }

    /// What was sent before the newest reply is taken as cached by the request before: with cache marks in Messages, always in
    /// Chat Completions, which counts it in steps of 128.
    init(of conversation: DemoConversation, protocol kind: DemoProtocol, outputBytes: Int, thinkingBytes: Int) {
        let whole = Self.promptTokens(of: conversation)
        let newestReply = conversation.turns.lastIndex { $0.role == .assistant }
        let prefix = newestReply.map { Self.promptTokens(of: conversation, turns: $0) } ?? 0
        thinking = Self.tokens(bytes: thinkingBytes)
        output = max(1, Self.tokens(bytes: outputBytes) + thinking)
        switch kind {
        case .messages where conversation.isCacheMarked && whole >= Self.smallestCachedPrefix:
            cacheRead = prefix >= Self.smallestCachedPrefix ? prefix : 0
            input = 4
            cacheWrite = whole - cacheRead - input
        case .chatCompletions where prefix >= Self.smallestCachedPrefix:
            cacheRead = prefix / 128 * 128
            input = whole - cacheRead
        default: input = whole
        }
    }
}

enum DemoProtocol: Sendable { case messages, chatCompletions }
