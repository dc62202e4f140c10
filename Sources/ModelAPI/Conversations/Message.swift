/// A message of a conversation, as the loop stores it.
package struct Message: Sendable, Hashable, Codable {
    /// `system`: an instruction in the middle of a conversation, by a client; the loop has none.
    package enum Role: String, Sendable, Codable { case user, assistant, system }

    package var role: Role
    package var content: [ContentBlock]

    package init(role: Role, content: [ContentBlock]) {
        self.role = role
        self.content = content
    }

    package static func user(_ text: String) -> Message { Message(role: .user, content: [.text(text)]) }
    package static func assistant(_ blocks: [AnswerBlock]) -> Message {
        Message(role: .assistant, content: blocks.map(ContentBlock.answer))
    }
}

package enum ContentBlock: Sendable, Hashable, Codable {
    case text(String)
    /// A block of an earlier answer: goes back exactly as it came.
    case answer(AnswerBlock)
    case toolResult(id: String, text: String, isError: Bool)
    case media(Media)
    /// A tool's result that is more than one text.
    case toolOutput(id: String, parts: [ResultPart], isError: Bool)
}
