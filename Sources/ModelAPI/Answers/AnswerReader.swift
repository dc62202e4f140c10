import Core
import NIOCore

/// Reads an answer from the bytes that pass by: what it says, what it used, why it ended. It changes nothing and never waits.
///
/// Feed it every chunk, then `finish()`. What it does not know it skips. Memory is bounded: an event by `SSEParser.defaultLimit`,
/// the content by `contentLimit`; beyond that the content is no longer kept, but usage and the end are still read.
package struct AnswerReader: Sendable {
    package static let defaultContentLimit = 32 << 20

    package let api: ModelProtocol
    package let isStreamed: Bool
    /// False: texts and inputs are counted but not kept, for calls whose content is not recorded.
    let keepsContent: Bool
    let contentLimit: Int
    /// Blocks that have fields of which this reader knows nothing (citations) are read as what they say, not kept as they are: for
    /// those who cannot send them on.
    var prefersText = false

    var parser = SSEParser(limit: SSEParser.defaultLimit, keepsNames: false)
    var body: [UInt8] = []
    var builders: [BlockBuilder] = []
    var tally: UsageTally
    var kept = 0

    /// The answer's own id and model, as the provider gave them.
    package internal(set) var id: String?
    package internal(set) var model: String?
    /// OpenAI: when the answer began, in seconds since 1970.
    package internal(set) var created: Int?
    package internal(set) var stopReason: StopReason?
    /// Messages: which of the client's stop sequences it was.
    package internal(set) var stopSequence: String?
    /// What the provider reported as an error, in mid-stream or instead of an answer.
    package internal(set) var error: UpstreamError?
    /// The answer came to its proper end: `message_stop`, `[DONE]`, the usage chunk behind a `finish_reason`,
    /// `response.completed` or `.incomplete`, or a whole plain body.
    package internal(set) var isComplete = false
    /// The usage is the final one, not that of the stream's beginning.
    package internal(set) var usageIsFinal = false
    /// Some content was not kept because it went beyond the limit.
    package internal(set) var isTruncated = false
    /// Bytes of text, thinking and tool input so far, kept or not.
    package internal(set) var generatedBytes = 0
    /// The answer has begun (`message_start`, the first chunk …), so an end can be built.
    package internal(set) var isStarted = false
    /// Events whose data was no JSON; they passed on to the client like all others.
    package internal(set) var unreadableEvents = 0
    /// Responses: the number of the last event.
    var sequence = 0
    var choices: Set<Int> = []
    var finishedChoices: Set<Int> = []

    package init(
        _ api: ModelProtocol, streamed: Bool, keepsContent: Bool = true, contentLimit: Int = AnswerReader.defaultContentLimit
    ) {
        self.api = api
        self.isStreamed = streamed
        self.keepsContent = keepsContent
        self.contentLimit = contentLimit
        tally = UsageTally(convention: api)
    }

    /// Nil until the provider reported any; see `usageIsFinal`.
    package var usage: Usage? { tally.usage }

    package var blocks: [AnswerBlock] { builders.map(\.block) }

    /// All text of the answer, without thinking.
    package var text: String {
        var bytes: [UInt8] = []
        for builder in builders where builder.kind == .text { bytes.append(contentsOf: builder.bytes) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// How many of the bytes fed last belong to an event that is not complete. Zero: between two events, where a ping may be put
    /// and the stream may be cut.
    package var bytesSinceBoundary: Int { parser.bytesSinceBoundary }

    /// - Throws: `upstream` when an event or a plain body is longer than can be read.
    package mutating func feed(_ bytes: ByteBuffer) throws(AppError) { try feed(bytes, onDelta: nil) }

    package mutating func feed(_ bytes: ByteBuffer, onDelta: ((AnswerDelta) -> Void)?) throws(AppError) {
        let result: Result<Void, AppError> = bytes.withUnsafeReadableBytes { chunk in
            do throws(AppError) {
                if isStreamed {
                    try read(chunk, onDelta)
                } else if body.count + chunk.count <= contentLimit {
                    body.append(contentsOf: chunk)
                } else {
                    throw AppError(.upstream, "The answer is longer than \(contentLimit) bytes; Slipway reads no longer ones.")
                }
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    /// The upstream has ended, properly or not.
    package mutating func finish() { finish(onDelta: nil) }

    package mutating func finish(onDelta: ((AnswerDelta) -> Void)?) {
        if isStreamed {
            if let piece = parser.lastPiece(), let joined = piece.joined {
                // Without its blank line it may be cut anywhere: all of it counts, or nothing.
                joined.withUnsafeBytes { data in
                    if Self.isDone(data) || JSONCursor.isObject(data) { event(data, onDelta) }
                }
            }
            // Servers that end without [DONE]: a finish_reason and an orderly end of the body are an end.
            // Gemini has no other end at all.
            if api == .chatCompletions || api == .gemini, stopReason != nil, error == nil { isComplete = true }
        } else if !body.isEmpty {
            let body = self.body
            self.body = []
            body.withUnsafeBytes { plain($0, onDelta) }
        }
    }

    /// Reads the next event that ends in the chunk; false when there is none. Start with `position` 0 and call until false, always
    /// with the same chunk: whoever has to act between two events reads so.
    mutating func readEvent(in chunk: UnsafeRawBufferPointer, at position: inout Int) throws(AppError) -> Bool {
        guard let piece = try parser.next(in: chunk, at: &position) else { return false }
        if let joined = piece.joined {
            joined.withUnsafeBytes { event($0, nil) }
        } else {
            event(UnsafeRawBufferPointer(rebasing: chunk[piece.range]), nil)
        }
        return true
    }

    /// One event's data, which came in another envelope than SSE.
    mutating func readEvent(data: [UInt8]) {
        data.withUnsafeBytes { event($0, nil) }
    }

    private mutating func read(_ chunk: UnsafeRawBufferPointer, _ onDelta: ((AnswerDelta) -> Void)?) throws(AppError) {
        var position = 0
        while let piece = try parser.next(in: chunk, at: &position) {
            if let joined = piece.joined {
                joined.withUnsafeBytes { event($0, onDelta) }
            } else {
                event(UnsafeRawBufferPointer(rebasing: chunk[piece.range]), onDelta)
            }
        }
    }

    private mutating func event(_ data: UnsafeRawBufferPointer, _ onDelta: ((AnswerDelta) -> Void)?) {
        var cursor = JSONCursor(data)
        do throws(JSONFailure) {
            switch api {
            case .messages: try messagesEvent(&cursor, onDelta)
            case .chatCompletions:
                if Self.isDone(data) {
                    isComplete = error == nil
                    return
                }
                try chatChunk(&cursor, onDelta)
            case .responses: try responsesEvent(&cursor, onDelta)
            case .gemini: try geminiChunk(&cursor, onDelta)
            }
        } catch {
            unreadableEvents += 1
        }
    }

    private static func isDone(_ data: UnsafeRawBufferPointer) -> Bool { data.elementsEqual("[DONE]".utf8) }

    private mutating func plain(_ bytes: UnsafeRawBufferPointer, _ onDelta: ((AnswerDelta) -> Void)?) {
        var cursor = JSONCursor(bytes)
        do throws(JSONFailure) {
            switch api {
            case .messages: try messagesAnswer(&cursor, onDelta)
            case .chatCompletions: try chatChunk(&cursor, onDelta)
            case .responses: try responsesAnswer(&cursor, onDelta)
            case .gemini: try geminiAnswer(&cursor, onDelta)
            }
            try cursor.expectEnd()
            for index in builders.indices { builders[index].isClosed = true }
            isComplete = error == nil && stopReason != nil
            usageIsFinal = usage != nil
        } catch let failure {
            isComplete = false
            unreadableEvents += 1
            if error == nil {
                error = UpstreamError(
                    type: "invalid_answer",
                    message: "The answer is not valid JSON at byte \(failure.offset): expected \(failure.expected).")
            }
        }
    }
}

// MARK: Building blocks

extension AnswerReader {
    /// The blocks an answer may have; further ones are not kept.
    static let mostBlocks = 4096

    /// Begins a block and says where it is; nil when there are too many.
    mutating func begin(_ index: Int, _ kind: BlockBuilder.Kind) -> Int? {
        guard builders.count < Self.mostBlocks else {
            isTruncated = true
            return nil
        }
        builders.append(BlockBuilder(index: index, kind: kind))
        return builders.count - 1
    }

    /// The block with the protocol's number, the newest first.
    func place(of index: Int) -> Int? { builders.lastIndex { $0.index == index } }

    mutating func append(_ text: JSONString, to place: Int) {
        generatedBytes += text.count
        guard fits(text.count) else { return }
        text.append(to: &builders[place].bytes)
    }

    /// Whether so many more bytes may be kept; they are then counted.
    mutating func fits(_ count: Int) -> Bool {
        guard keepsContent else { return false }
        guard kept + count <= contentLimit else {
            isTruncated = true
            return false
        }
        kept += count
        return true
    }
}
