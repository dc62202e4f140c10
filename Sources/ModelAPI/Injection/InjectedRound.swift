/// What one answer of a model came to, of a call into which tools were injected.
package struct InjectedRound: Sendable {
    /// A call of an injected tool: never shown to the client.
    package struct Call: Sendable, Equatable {
        package var id: String
        package var name: String
        /// A JSON object, unless it is not whole.
        package var arguments: String
        package var isWhole: Bool
    }

    package typealias Result = RequestSummary.ToolResult

    package var calls: [Call] = []
    /// Ids of the calls of the client's own tools.
    package var clientCalls: [String] = []
    /// The answer as the model has to read it again: messages or items.
    package var turn: [String] = []
    /// It came to its proper end.
    package var isComplete = false
    package var stop: StopReason?
    /// What the client sees of it.
    package var text = ""
    /// Responses: the provider's id of it.
    package var response: String?

    package init() {}

    /// The results of injected tools, as messages or items.
    package static func elements(_ results: [Result], _ api: ModelProtocol) -> [String] {
        if results.isEmpty { return [] }
        switch api {
        case .messages, .gemini:
            return [#"{"role":"user","content":[\#(blocks(results).joined(separator: ","))]}"#]
        case .chatCompletions:
            return results.map { result in
                JSONWriter.object {
                    $0.field("role", "tool")
                    $0.field("tool_call_id", result.id)
                    $0.field("content", result.text)
                }.text
            }
        case .responses:
            return results.map { result in
                JSONWriter.object {
                    $0.field("type", "function_call_output")
                    $0.field("call_id", result.id)
                    $0.field("output", result.text)
                }.text
            }
        }
    }

    /// Messages: the blocks of a user's message.
    package static func blocks(_ results: [Result]) -> [String] {
        results.map { result in
            JSONWriter.object {
                $0.field("type", "tool_result")
                $0.field("tool_use_id", result.id)
                if !result.text.isEmpty { $0.field("content", result.text) }
                if result.isError { $0.field("is_error", true) }
            }.text
        }
    }

    /// The model's own blocks again; signed ones byte for byte.
    static func turn(_ blocks: [AnswerBlock], _ api: ModelProtocol) -> [String] {
        let message = Message.assistant(blocks)
        var writer = JSONWriter()
        if api == .chatCompletions {
            writer.chatMessages(message)
        } else {
            let content = message.messagesContent
            if content.isEmpty { return [] }
            writer.object {
                $0.field("role", "assistant")
                $0.fieldArray("content") { array in for block in content { array.messagesBlock(block, isMarked: false) } }
            }
        }
        return writer.bytes.isEmpty ? [] : [writer.text]
    }
}

/// Numbers of usage objects, whatever a provider calls them.
enum UsageSum {
    /// The later one's fields win.
    static func overlay(_ first: JSONObjectText?, _ second: JSONObjectText?) -> JSONObjectText? {
        combine(first, second) { _, later in later }
    }

    static func add(_ first: JSONObjectText?, _ second: JSONObjectText?) -> JSONObjectText? {
        combine(first, second) { a, b in
            guard let x = Int(a), let y = Int(b) else { return b }
            let (sum, isOver) = x.addingReportingOverflow(y)
            return isOver ? b : "\(sum)"
        }
    }

    private static func combine(
        _ first: JSONObjectText?, _ second: JSONObjectText?, _ value: (String, String) -> String
    ) -> JSONObjectText? {
        guard var sum = first, let second else { return first ?? second }
        for name in second.names {
            guard let theirs = second[name] else { continue }
            guard let ours = sum[name], ours != "null" else {
                sum[name] = theirs
                continue
            }
            if theirs == "null" { continue }
            if let a = JSONObjectText(ours), let b = JSONObjectText(theirs) {
                sum[name] = combine(a, b, value)?.text
            } else {
                sum[name] = value(ours, theirs)
            }
        }
        return sum
    }
}
