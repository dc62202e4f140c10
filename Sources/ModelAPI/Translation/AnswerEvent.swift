/// What happens in an answer, whichever protocol it came in: the one language between all of them.
///
/// Blocks are numbered from 0 in the order in which they begin, and may be open side by side: the number alone says which one a
/// piece belongs to.
enum AnswerEvent: Sendable, Hashable {
    enum Block: Sendable, Hashable {
        case text
        case thinking
        case redactedThinking(data: String)
        case toolUse(id: String, name: String)
    }

    enum Piece: Sendable, Hashable { case text, thinking, input }

    /// Comes first, once. The usage is what is known so early.
    case start(id: String?, model: String?, created: Int?, usage: Usage?)
    case begin(Int, Block)
    /// A piece of a text, of thinking, or of the JSON that is a tool's input. Never cut inside a character.
    case piece(Int, Piece, String)
    /// - Parameter block: the whole of it.
    case end(Int, AnswerBlock)
    /// The answer came to its end.
    case stop(StopReason, sequence: String?, usage: Usage?)
    case failed(UpstreamError)
}
