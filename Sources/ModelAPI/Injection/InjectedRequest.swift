import NIOCore

/// A client's request into which tools, answers and results of tools are put. The values of all its fields stay byte for byte.
package struct InjectedRequest: Sendable {
    package let api: ModelProtocol
    private(set) var fields: JSONObjectText
    /// Of the client; nil when it has none.
    package let clientTools: String?

    /// Nil for a body that cannot be read as one object, and for Gemini's: then nothing is injected.
    package init?(_ body: ByteBuffer, _ api: ModelProtocol) {
        guard api != .gemini, let fields = JSONObjectText(String(buffer: body)) else { return nil }
        self.api = api
        self.fields = fields
        clientTools = fields["tools"].flatMap { $0 == "null" ? nil : $0 }
        guard clientTools == nil || JSONText.elements(clientTools ?? "") != nil, turns != nil else { return nil }
    }

    package var body: ByteBuffer { ByteBuffer(string: fields.text) }

    private var turnsField: String { api == .responses ? "input" : "messages" }

    /// The messages or items of the conversation, as JSON; nil where it has none.
    package var turns: [String]? {
        guard let value = fields[turnsField] else { return nil }
        if value.utf8.first == UInt8(ascii: "\"") {
            return api == .responses ? [#"{"type":"message","role":"user","content":\#(value)}"#] : nil
        }
        return JSONText.elements(value)
    }

    /// Of several answers side by side, none could be gone on with.
    package var asksForOneAnswer: Bool { ["1", "null"].contains(fields["n"] ?? "1") }

    /// Responses: the provider adds each round to a conversation that it keeps, hidden calls and all, and would have them twice.
    package var isOfConversation: Bool { api == .responses && fields["conversation"].map { $0 != "null" } == true }

    /// The answer is kept at the provider, which then knows what it reasoned.
    package var isStored: Bool { fields["store"] != "false" }

    package var previousResponse: String? { api == .responses ? fields.string("previous_response_id") : nil }

    package mutating func replacePreviousResponse(_ id: String) { fields["previous_response_id"] = JSONText.quoted(id) }

    /// Names of the client's own tools.
    package var toolNames: Set<String> {
        Set(
            (clientTools.flatMap(JSONText.elements) ?? []).compactMap { tool in
                guard let fields = JSONObjectText(tool) else { return nil }
                return fields.string("name") ?? fields.object("function")?.string("name")
            })
    }

    /// Before the client's own: marks of prompt caches on those then cover these as well.
    package mutating func add(_ tools: InjectedTools) {
        let own = clientTools.map { $0.dropFirst().dropLast() } ?? ""
        let definitions = tools.all.map { $0.definition(api) }.joined(separator: ",")
        let comma = own.utf8.allSatisfy({ $0 <= 0x20 }) ? "" : ","
        fields["tools"] = "[\(definitions)\(comma)\(own)]"
    }

    package mutating func append(_ elements: [String]) {
        if elements.isEmpty { return }
        replaceTurns((turns ?? []) + elements)
    }

    package mutating func replaceTurns(_ elements: [String]) { fields[turnsField] = "[" + elements.joined(separator: ",") + "]" }

    /// From here on the model may only speak.
    package mutating func forbidTools() { fields["tool_choice"] = api == .messages ? #"{"type":"none"}"# : #""none""# }
}
