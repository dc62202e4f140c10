import Core
import NIOCore

/// What the loop sends to a model. The same value always encodes to the same bytes, and a longer conversation begins with the bytes
/// of the shorter one (cache marks aside), so that prompt caches hit.
package struct Conversation: Sendable, Hashable {
    package enum ToolChoice: Sendable, Hashable {
        case auto, none
        /// Some tool must be called.
        case required
        case tool(String)
    }

    package var model: String
    package var system: String
    package var tools: [ToolSchema]
    package var messages: [Message]
    /// Nil: as many as the model can, where the protocol allows not to say.
    package var maxOutputTokens: TokenCount?
    /// Told to the provider as the user's opaque id (Messages) or as the cache's key (Responses), so that it sees one session.
    package var sessionID: String?
    package var toolChoice: ToolChoice
    /// Messages: tokens that the model may think before it answers, at least 1,024 and below `maxOutputTokens`; nil: no thinking.
    package var thinkingBudget: TokenCount?
    /// How much to think, where it is said in a word instead of a budget.
    package var effort: Effort?
    package var sampling = Sampling()
    package var stopSequences: [String] = []
    package var parallelToolCalls: Bool?
    package var format: AnswerFormat?
    /// An opaque id of who asks.
    package var user: String?
    /// A client's conversation, on its way into another protocol: its order of tools stands, and what the loop adds for itself is
    /// left out.
    package var isTranslated = false

    package init(
        model: String, system: String, tools: [ToolSchema] = [], messages: [Message], maxOutputTokens: TokenCount?,
        sessionID: String? = nil, toolChoice: ToolChoice = .auto, thinkingBudget: TokenCount? = nil
    ) {
        self.model = model
        self.system = system
        self.tools = tools
        self.messages = messages
        self.maxOutputTokens = maxOutputTokens
        self.sessionID = sessionID
        self.toolChoice = toolChoice
        self.thinkingBudget = thinkingBudget
    }

    /// The request's body. Empty texts and messages without content are left out: providers refuse them.
    package func encode(as api: ModelProtocol, stream: Bool) -> ByteBuffer {
        switch api {
        case .messages: encodeMessages(stream: stream)
        case .chatCompletions: encodeChat(stream: stream)
        case .responses: encodeResponses(stream: stream)
        case .gemini: encodeGemini()
        }
    }

    /// What is asked for where the protocol wants a limit and nobody named one.
    static let usualMaxOutputTokens: TokenCount = 8192

    /// Sorted by name: their order must not depend on who assembled them.
    var sortedTools: [ToolSchema] { isTranslated ? tools : tools.sorted { $0.name < $1.name } }
}

extension String {
    /// Nothing but white space: as a text block refused by providers.
    var isBlank: Bool { utf8.allSatisfy { $0 == 0x20 || (0x09...0x0D).contains($0) } }
}

extension AnswerBlock {
    /// A tool call's input as an object: what a cut or broken one said is sent back as the text it is, never as an empty input.
    static func object(ofInput json: String) -> String {
        if JSONCursor.isObject(json) { return json }
        return JSONWriter.object { $0.field("unparsed_input", json) }.text
    }
}
