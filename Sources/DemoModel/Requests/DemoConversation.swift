/// A request in either protocol, reduced to what scripts and the token count look at.
struct DemoConversation: Sendable {
    enum Role: Sendable { case user, assistant }

    struct Result: Sendable {
        var id: String
        var text: String
        var isError: Bool
    }

    struct Call: Sendable {
        var id: String
        var name: String
    }

    /// Successive messages of one side are one turn, as both protocols see it.
    struct Turn: Sendable {
        var role: Role
        var text = ""
        var calls: [Call] = []
        var results: [Result] = []
        /// The size of what it holds, without the JSON around it.
        var bytes = 0

        /// A tool's results are the user's side too, but nobody said them.
        var isFromPerson: Bool { role == .user && results.isEmpty }
    }

    var model: String
    var isStreamed: Bool
    var maxTokens: Int?
    /// Chat Completions alone: whether the stream ends with the usage.
    var includesUsage = false
    /// Messages alone: whether anything is marked for the prompt cache.
    var isCacheMarked = false
    var turns: [Turn] = []
    /// System prompt and tools.
    var preambleBytes = 0
    /// Names the conversation: equal for equal system prompts and messages.
    var fingerprint: String

    /// What the tools answered since the last reply.
    var newestResults: [Result] {
        let start = turns.lastIndex { $0.role == .assistant } ?? turns.startIndex
        return turns[start...].flatMap(\.results)
    }

    mutating func append(_ turn: Turn) {
        // A person's words are not merged into the results before them: they begin a turn of their own.
        if var last = turns.last, last.role == turn.role, last.results.isEmpty == turn.results.isEmpty {
            last.text += last.text.isEmpty || turn.text.isEmpty ? turn.text : "\n" + turn.text
            last.calls += turn.calls
            last.results += turn.results
            last.bytes += turn.bytes
            turns[turns.count - 1] = last
        } else {
            turns.append(turn)
        }
    }
}
