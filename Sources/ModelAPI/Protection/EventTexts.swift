import NIOCore

/// The texts of one event of a streamed answer: which go on from event to event, and which end with it.
package struct EventTexts: Sendable {
    package struct Piece: Sendable {
        /// In the event's data, between the quotes.
        package var range: Range<Int>
        package var isEscaped: Bool
        package var place: BodyTexts.Place
        package var isSigned: Bool
        package var path: String
        /// Texts of one channel are one text; nil: this one is whole.
        package var channel: String?
        /// The text is JSON itself: escapes are undone twice.
        package var isJSON: Bool
    }

    package private(set) var pieces: [Piece] = []
    /// Channels whose names contain one of these have ended.
    package private(set) var closes: [String] = []
    /// It says again what other events have said.
    package private(set) var repeats = false

    /// - Throws: for data that is no JSON.
    package init(_ data: ByteBuffer, _ api: ModelProtocol) throws {
        let texts = try BodyTexts(data)
        let type = api == .messages || api == .responses ? Self.type(data) : ""
        switch api {
        case .messages:
            if type == "content_block_stop" { closes = [texts.number] }
            if type == "message_stop" || type == "error" { closes = [""] }
        case .responses:
            repeats = type.hasSuffix(".done") || type.hasPrefix("response.") && type.filter { $0 == "." }.count == 1
            if type == "response.output_item.done" {
                closes = [texts.number]
            } else if type.hasSuffix(".done") {
                closes = ["\(texts.number) \(type.dropLast(5))"]
            } else if type == "response.completed" || type == "response.incomplete" || type == "response.failed" {
                closes = [""]
            }
        case .chatCompletions, .gemini: break
        }
        for text in texts.texts {
            let path = texts.path(of: text)
            let place = texts.place(of: text)
            var piece = Piece(
                range: text.range, isEscaped: text.isEscaped, place: place, isSigned: texts.isSigned(text), path: path,
                channel: nil, isJSON: false)
            switch api {
            case .messages where type == "content_block_delta" || type == "content_block_start":
                guard let field = path.split(separator: ".").last, ["text", "thinking", "partial_json"].contains(field) else {
                    break
                }
                piece.channel = "\(texts.number) \(field)"
                piece.isSigned = field == "thinking"
                piece.isJSON = field == "partial_json"
                if piece.isJSON { piece.place = .toolInput }
            case .chatCompletions:
                let channel = texts.channel(of: text)
                if channel.hasSuffix(".finish_reason") { closes.append(String(channel.dropLast(14))) }
                guard channel.contains(".delta"), let field = path.split(separator: ".").last,
                    ["content", "refusal", "reasoning_content", "reasoning", "arguments", "text", "thinking"].contains(field)
                else { break }
                piece.channel = channel
                piece.isJSON = field == "arguments"
                if piece.isJSON { piece.place = .toolInput }
            case .responses where path == "delta" && type.hasSuffix(".delta"):
                piece.channel = "\(texts.number) \(type.dropLast(6))"
                piece.isJSON = type.contains("arguments")
                if type.contains("arguments") || type.contains("tool_call") { piece.place = .toolInput }
                if type.contains("reasoning") { piece.isSigned = true }
            case .gemini:
                let channel = texts.channel(of: text)
                if channel.hasSuffix(".finishReason") { closes.append(String(channel.dropLast(13))) }
                if channel.contains(".parts"), channel.hasSuffix(".text") { piece.channel = channel }
            default: break
            }
            pieces.append(piece)
        }
    }

    private static func type(_ data: ByteBuffer) -> String {
        data.withUnsafeReadableBytes { bytes in
            var cursor = JSONCursor(bytes)
            guard var walk = try? cursor.enterObject() else { return "" }
            while let key = try? cursor.nextKey(&walk) {
                if key.equals("type") { return (try? cursor.optionalString())?.string() ?? "" }
                if (try? cursor.skipValue()) == nil { return "" }
            }
            return ""
        }
    }
}
