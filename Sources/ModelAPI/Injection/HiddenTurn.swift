import Crypto

/// What a client never saw of a turn: the model's calls of injected tools, and their results. In the client's next request it takes the place of
/// what the client saw, so that the model reads its own turn again, signatures and order included. A pure value.
package struct HiddenTurn: Sendable, Codable, Equatable {
    /// All messages or items of the turn, as the provider knows them.
    package var elements: [String] = []
    /// Messages: blocks that belong to the front of the user's message behind it.
    package var results: [String] = []
    /// Responses: the provider's id of the last answer, and what it waits for beside the client's results.
    package var response: String?
    package var waiting: [String] = []

    package init() {}

    /// Of what it adds to a request.
    var size: Int { (elements + results).reduce(0) { $0 + $1.utf8.count + 1 } }
}

/// By what a turn is found again in the client's next request.
package enum TurnKey {
    /// Bound to all that the client said before: other conversations have turns of the same words, and providers that number the calls of
    /// each answer from nought.
    ///
    /// - Parameters:
    ///   - calls: ids of the turn's calls of the client's own tools.
    ///   - text: of all the turn.
    ///   - conversation: `InjectedRequest.conversation` of the request that the turn answered.
    package static func key(calls: [String], text: String, in conversation: String) -> String? {
        if let call = calls.first, !call.isEmpty { return "call \(conversation) \(call)" }
        let said = text.filter { !$0.isWhitespace }
        return said.isEmpty ? nil : "text \(conversation) \(said)"
    }

    package static func key(response: String) -> String { "response \(response)" }

    /// One message or item of a request.
    struct Element {
        var text = ""
        var calls: [String] = []
        /// The model made it.
        var isAnswer = false
        /// What the client sends beside text: whose results of tools, what they say, and its pictures and files.
        var given: [String] = []

        init(_ json: String) {
            guard let fields = JSONObjectText(json) else { return }
            let type = fields.string("type")
            isAnswer = fields.string("role").map { $0 == "assistant" } ?? (type?.hasSuffix("_output") == false && type != "message")
            if let call = fields.string("call_id") {
                if isAnswer { calls.append(call) } else { given.append(call) }
            }
            if let call = fields.string("tool_call_id") { given.append(call) }
            if let output = fields["output"] { given.append(Self.said(output)) }
            for call in fields["tool_calls"].flatMap(JSONText.elements) ?? [] {
                if let id = JSONObjectText(call)?.string("id") { calls.append(id) }
            }
            guard let content = fields["content"] else { return }
            if let plain = JSONText.string(content) {
                text = plain
                return
            }
            for block in (JSONText.elements(content) ?? []).lazy.compactMap({ JSONObjectText($0) }) {
                switch block.string("type") {
                case "text", "input_text", "output_text": text += block.string("text") ?? ""
                case "tool_use": if let id = block.string("id") { calls.append(id) }
                case "tool_result": given += [block.string("tool_use_id") ?? "", block["content"].map(Self.said) ?? ""]
                default: given += Self.media.compactMap { block[$0] }
                }
            }
        }

        private static let media = ["source", "image_url", "file_id", "file", "file_url", "file_data", "input_audio"]

        /// The text of a result: a string, blocks, or whatever it is.
        private static func said(_ value: String) -> String {
            if let plain = JSONText.string(value) { return plain }
            return JSONText.elements(value)?.compactMap { JSONObjectText($0)?.string("text") }.joined(separator: "\n") ?? value
        }
    }

    /// What the client itself has said so far. Marks of prompt caches, which move from turn to turn, are no part of it.
    struct Conversation {
        private var hash = SHA256()

        mutating func add(_ element: Element) {
            for part in [element.text] + element.given {
                var part = "\(part.utf8.count):\(part)"
                part.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
            }
        }

        var name: String { hash.finalize().map { String($0, radix: 36) }.joined(separator: ".") }
    }

    struct Run {
        var range: Range<Int>
        var key: String
    }

    /// The turns of the model in a conversation.
    static func runs(_ turns: [String]) -> [Run] {
        let elements = turns.map(Element.init)
        var runs: [Run] = []
        var conversation = Conversation()
        var start = 0
        while start < elements.count {
            guard elements[start].isAnswer else {
                conversation.add(elements[start])
                start += 1
                continue
            }
            var end = start + 1
            while end < elements.count, elements[end].isAnswer { end += 1 }
            let run = elements[start..<end]
            let key = key(calls: run.flatMap(\.calls), text: run.map(\.text).joined(), in: conversation.name)
            if let key { runs.append(Run(range: start..<end, key: key)) }
            start = end
        }
        return runs
    }
}

extension InjectedRequest {
    /// The newest turns are looked for; older ones have been forgotten.
    private static let mostRuns = 200

    /// Names all that the client itself has said, up to here.
    package var conversation: String {
        var conversation = TurnKey.Conversation()
        for turn in turns ?? [] {
            let element = TurnKey.Element(turn)
            if !element.isAnswer { conversation.add(element) }
        }
        return conversation.name
    }

    /// By what turns of this conversation may be known.
    package var turnKeys: [String] {
        var keys = TurnKey.runs(turns ?? []).suffix(Self.mostRuns).map(\.key)
        if let previousResponse { keys.append(TurnKey.key(response: previousResponse)) }
        return keys
    }

    /// Puts back what the client never saw, the newest first.
    ///
    /// - Parameter limit: of the bytes of the body. A turn that goes beyond stays what the client sent.
    package mutating func restore(_ found: [String: HiddenTurn], upTo limit: Int) {
        if found.isEmpty { return }
        guard var turns else { return }
        var room = limit - fields.text.utf8.count
        if let previousResponse, let turn = found[TurnKey.key(response: previousResponse)] { room -= turn.size }
        for run in TurnKey.runs(turns).reversed() {
            guard let turn = found[run.key], turn.size <= room else { continue }
            if api == .messages, !turn.results.isEmpty {
                // Results have to follow their calls at once.
                guard run.range.upperBound < turns.count,
                    let next = Self.putting(turn.results, before: turns[run.range.upperBound])
                else { continue }
                turns[run.range.upperBound] = next
            }
            var elements = turn.elements
            if let mark = turns[run.range].lazy.compactMap(Self.cacheMark).last, let last = elements.popLast() {
                elements.append(Self.marking(last, mark))
            }
            turns.replaceSubrange(run.range, with: elements)
            room -= turn.size
        }
        if let previousResponse, let turn = found[TurnKey.key(response: previousResponse)], let response = turn.response {
            replacePreviousResponse(response)
            turns = turn.waiting + turns
        }
        replaceTurns(turns)
    }

    private static func putting(_ blocks: [String], before message: String) -> String? {
        guard var fields = JSONObjectText(message), fields.string("role") == "user", let content = fields["content"] else {
            return nil
        }
        let own = JSONText.elements(content) ?? [#"{"type":"text","text":\#(content)}"#]
        fields["content"] = "[" + (blocks + own).joined(separator: ",") + "]"
        return fields.text
    }

    /// A mark of the client's prompt cache on the last block of a message.
    private static func cacheMark(_ message: String) -> String? {
        guard let content = JSONObjectText(message)?["content"], let last = JSONText.elements(content)?.last else { return nil }
        return JSONObjectText(last)?["cache_control"]
    }

    private static func marking(_ message: String, _ mark: String) -> String {
        guard var fields = JSONObjectText(message), var blocks = fields["content"].flatMap(JSONText.elements),
            let last = blocks.popLast(), var block = JSONObjectText(last), block.string("type")?.hasSuffix("thinking") != true
        else { return message }
        block["cache_control"] = mark
        fields["content"] = "[" + (blocks + [block.text]).joined(separator: ",") + "]"
        return fields.text
    }
}
