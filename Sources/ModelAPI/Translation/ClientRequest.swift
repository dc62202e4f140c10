import Core
import NIOCore

/// A client's request, read whole: a conversation that any upstream's protocol can be written from.
///
/// Only for calls whose upstream speaks another protocol. When both speak the same one, the body passes as it is.
package struct ClientRequest: Sendable {
    package let api: ModelProtocol
    package var conversation: Conversation
    package var stream: Bool
    /// Chat Completions: the client asked for the usage chunk.
    package var includeUsage: Bool
    /// What the client asked for and no other protocol has.
    package var losses: Losses

    /// - Throws: `badRequest` that names the field, what it is and what is expected; also for what only the client's own provider
    ///   could know: stored conversations, files by id.
    package static func read(_ body: ByteBuffer, as api: ModelProtocol) throws(AppError) -> ClientRequest {
        let result: Result<ClientRequest, AppError> = body.withUnsafeReadableBytes { bytes in
            do throws(AppError) {
                var reader = ClientRequestReader()
                let root = try JSONNode.document(bytes).fields()
                return .success(try reader.read(root, api))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// Reads a body field by field; what is left over is noted as a loss.
struct ClientRequestReader {
    var conversation = Conversation(model: "", system: "", messages: [], maxOutputTokens: nil)
    var losses = Losses()
    var stream = false
    var includeUsage = false

    mutating func read(_ root: JSONFields, _ api: ModelProtocol) throws(AppError) -> ClientRequest {
        var root = root
        conversation.isTranslated = true
        conversation.model = try root.require("model", "the id of a model").string()
        guard (1...256).contains(conversation.model.utf8.count) else {
            throw AppError(.badRequest, "\"model\" must have 1 to 256 bytes.", field: "model")
        }
        stream = try root.bool("stream") ?? false
        switch api {
        case .messages: try readMessages(&root)
        case .chatCompletions: try readChat(&root)
        case .responses: try readResponses(&root)
        case .gemini:
            throw AppError(
                .badRequest, "A request in Gemini's protocol can only be answered by a Gemini provider.", field: "model")
        }
        losses.note(root.remainder)
        return ClientRequest(
            api: api, conversation: conversation, stream: stream, includeUsage: includeUsage, losses: losses)
    }

    /// Instructions before the first message are the system prompt; later ones keep their place.
    mutating func addSystem(_ text: String) {
        if text.isBlank { return }
        if conversation.messages.isEmpty {
            conversation.system += conversation.system.isEmpty ? text : "\n\n" + text
        } else {
            conversation.messages.append(Message(role: .system, content: [.text(text)]))
        }
    }

    /// Goes on with the last message when that is of the same role: protocols that put each call and each result into an item of
    /// its own mean one turn by them.
    mutating func add(_ blocks: [ContentBlock], _ role: Message.Role, joins: Bool) {
        if blocks.isEmpty { return }
        if joins, let last = conversation.messages.indices.last, conversation.messages[last].role == role {
            conversation.messages[last].content += blocks
        } else {
            conversation.messages.append(Message(role: role, content: blocks))
        }
    }

    /// A tool's result: a text where it is one, else its parts.
    static func result(_ id: String, _ parts: [ResultPart], isError: Bool = false) -> ContentBlock {
        switch parts.count {
        case 0: return .toolResult(id: id, text: "", isError: isError)
        case 1: if case .text(let text) = parts[0] { return .toolResult(id: id, text: text, isError: isError) }
        default: break
        }
        return .toolOutput(id: id, parts: parts, isError: isError)
    }

    static func storedElsewhere(_ field: String) -> AppError {
        let place = String(field.prefix(200))
        return AppError(
            .badRequest,
            "\"\(place)\" names something stored at another provider, which this model cannot reach; send its content instead.",
            field: place)
    }

    /// A reasoning effort; words of the future are noted.
    mutating func effort(_ node: JSONNode?) throws(AppError) -> Effort? {
        guard let node else { return nil }
        if let effort = Effort(rawValue: try node.string()) { return effort }
        losses.note(node.path)
        return nil
    }

    /// `{name, schema, strict, description}`, as both of OpenAI's protocols have it.
    mutating func jsonSchema(_ fields: inout JSONFields) throws(AppError) -> AnswerFormat {
        let format = AnswerFormat.jsonSchema(
            name: try fields.string("name") ?? "answer", schema: try fields.require("schema", "a JSON Schema").object(),
            strict: try fields.bool("strict"))
        losses.note(fields.remainder)
        return format
    }
}
