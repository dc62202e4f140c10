/// Tells what has happened in an answer since it was last asked, from what an `AnswerReader` has read.
///
/// Asked after each event of the upstream, so that what it tells does not depend on how the bytes were cut.
struct AnswerEvents {
    private struct Progress {
        /// The number of the open block; nil before it begins and after it ended.
        var number: Int?
        var isBegun = false
        /// Bytes of the content that were told.
        var told = 0
        /// Where the open block began: a text that goes on after something else is a new block.
        var start = 0
    }

    private var progress: [Progress] = []
    private var next = 0
    private var isStarted = false
    private var isGemini = false
    private(set) var isOver = false
    /// Kinds of blocks that no other protocol knows.
    private(set) var losses = Losses()

    /// - Parameter isEnd: the upstream's bytes have ended.
    mutating func take(_ reader: AnswerReader, isEnd: Bool, into events: inout [AnswerEvent]) {
        if isOver { return }
        isGemini = reader.api == .gemini
        if !isStarted, reader.isStarted || !reader.builders.isEmpty || (isEnd && reader.isComplete) {
            isStarted = true
            events.append(.start(id: reader.id, model: reader.model, created: reader.created, usage: reader.usage))
        }
        // Chat Completions and Gemini end no block: what comes next does.
        let endsByNext = reader.api == .chatCompletions || reader.api == .gemini
        for place in reader.builders.indices {
            if place == progress.count { progress.append(Progress()) }
            tell(reader, place, endsByNext, &events)
        }
        if let error = reader.error { return fail(error, &events) }
        if reader.isTruncated {
            let most = reader.contentLimit
            let message = "The answer is longer than \(most) bytes; Slipway translates no longer ones."
            return fail(UpstreamError(type: "api_error", message: message), &events)
        }
        // Gemini has no last event: more may come behind the chunk that looks like it.
        guard reader.isComplete, isEnd || reader.api != .gemini else { return }
        // An end alone is none: `[DONE]` behind chunks of which none could be read.
        guard isStarted else {
            let message = "The model's provider ended an answer that never began."
            return fail(UpstreamError(type: "api_error", message: message), &events)
        }
        finish(reader, reader.stopReason ?? .endTurn, &events)
    }

    /// Ends what is open and the answer, as it stands.
    mutating func finish(_ reader: AnswerReader, _ reason: StopReason, _ events: inout [AnswerEvent]) {
        if isOver { return }
        for place in progress.indices { end(reader.builders[place], place, &events) }
        isOver = true
        var usage = reader.usage
        if !reader.usageIsFinal, reader.generatedBytes > 0 || usage != nil {
            usage = usage ?? Usage()
            usage?.output = reader.estimatedOutput
        }
        events.append(.stop(reason, sequence: reader.stopSequence, usage: usage))
    }

    mutating func fail(_ error: UpstreamError, _ events: inout [AnswerEvent]) {
        if isOver { return }
        isOver = true
        events.append(.failed(error))
    }

    private mutating func tell(
        _ reader: AnswerReader, _ place: Int, _ endsByNext: Bool, _ events: inout [AnswerEvent]
    ) {
        let builder = reader.builders[place]
        if builder.kind == .other {
            if !progress[place].isBegun { losses.note("answer.\(BlockBuilder.typeWord(builder.json))") }
            progress[place].isBegun = true
            return
        }
        let whole = builder.wholeCharacters
        let hasMore = whole > progress[place].told
        if !progress[place].isBegun || hasMore && progress[place].number == nil {
            // Some servers name a tool only after its id.
            if builder.kind == .toolUse, builder.name.isEmpty, !builder.isClosed { return }
            if endsByNext { endOthers(reader, but: place, &events) }
            progress[place].isBegun = true
            progress[place].number = next
            progress[place].start = progress[place].told
            events.append(.begin(next, builder.eventBlock))
            next += 1
        }
        guard let number = progress[place].number else { return }
        if hasMore, builder.kind != .redactedThinking {
            let text = String(decoding: builder.bytes[progress[place].told..<whole], as: UTF8.self)
            events.append(.piece(number, builder.pieceKind, text))
            progress[place].told = whole
        }
        if builder.isClosed { end(builder, place, &events) }
    }

    private mutating func endOthers(_ reader: AnswerReader, but place: Int, _ events: inout [AnswerEvent]) {
        for other in progress.indices where other != place && reader.builders[other].kind != .toolUse {
            end(reader.builders[other], other, &events)
        }
    }

    private mutating func end(_ builder: BlockBuilder, _ place: Int, _ events: inout [AnswerEvent]) {
        guard let number = progress[place].number else { return }
        progress[place].number = nil
        // Half a character at the end stays half.
        if progress[place].told < builder.bytes.count, builder.kind != .redactedThinking {
            let text = String(decoding: builder.bytes[progress[place].told...], as: UTF8.self)
            events.append(.piece(number, builder.pieceKind, text))
            progress[place].told = builder.bytes.count
        }
        if builder.kind == .toolUse, builder.bytes.isEmpty { events.append(.piece(number, .input, "{}")) }
        var block = builder.block
        if case .thinking(let text, let signature?) = block, isGemini {
            block = .thinking(text: text, signature: Signature.gemini + signature)
        }
        if progress[place].start > 0, builder.kind == .text || builder.kind == .thinking {
            let rest = String(decoding: builder.bytes[progress[place].start...], as: UTF8.self)
            block = builder.kind == .text ? .text(rest) : .thinking(text: rest, signature: nil)
        }
        events.append(.end(number, block))
    }
}

extension BlockBuilder {
    fileprivate var eventBlock: AnswerEvent.Block {
        switch kind {
        case .text, .other: .text
        case .thinking: .thinking
        case .redactedThinking: .redactedThinking(data: String(decoding: bytes, as: UTF8.self))
        case .toolUse: .toolUse(id: id, name: name)
        }
    }

    fileprivate var pieceKind: AnswerEvent.Piece {
        switch kind {
        case .text, .redactedThinking, .other: .text
        case .thinking: .thinking
        case .toolUse: .input
        }
    }

    /// The kind of an unknown block, as it names itself.
    static func typeWord(_ json: String) -> String {
        var json = json
        return json.withUTF8 { text -> String in
            guard var fields = try? JSONNode.document(UnsafeRawBufferPointer(text)).fields() else { return "content" }
            return ((try? fields.string("type")) ?? nil) ?? "content"
        }
    }

    /// How many of the bytes are whole characters: the last one, and the high half of a surrogate pair (see `JSONString.append`),
    /// may still wait for their other half.
    fileprivate var wholeCharacters: Int {
        let count = bytes.count
        if count >= 3, bytes[count - 3] == 0xED, (0xA0...0xAF).contains(bytes[count - 2]) { return count - 3 }
        for back in 1...3 where back <= count {
            let byte = bytes[count - back]
            if byte & 0xC0 == 0x80 { continue }
            let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return length > back ? count - back : count
        }
        return count
    }
}
