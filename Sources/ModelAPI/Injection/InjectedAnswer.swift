import Core
import NIOCore

/// Makes one answer for the client out of those of several rounds: what the model calls of injected tools is taken out, and what it says is
/// passed on as it comes. A pure value.
///
/// For each round `begin`, then `take` for every piece, then `endRound`; at the very end `close`. An answer of one round without a call of an
/// injected tool passes as it came, byte for byte, except that Responses does not name tools that the client never sent.
package struct InjectedAnswer: Sendable {
    let api: ModelProtocol
    package let isStreamed: Bool
    let hidden: Set<String>
    /// JSON; nil when the client has none.
    let clientTools: String?
    /// Responses: reasoning without its encrypted content means nothing to a provider that keeps nothing.
    let isStored: Bool

    /// Of the round under way.
    var reader: AnswerReader
    var round = InjectedRound()
    var usage: JSONObjectText?
    var splitter = EventSplitter()
    var whole = ByteBuffer()
    /// Numbers by which the upstream names blocks, items or calls of the round, and those that the client gets; nil: hidden.
    var places: [Int: Int?] = [:]

    /// Of all rounds.
    var rounds = 0
    var hasHidden = false
    var total: JSONObjectText?
    /// The number of the client's next block, item or call.
    var next = 0
    /// What the client knows the answer by.
    var id: String?
    var created: String?
    var sequence = 0
    var saysSomething = false
    var needsJoint = false
    /// Responses: the items that the client gets. Whole answers: blocks.
    var items: [String] = []
    /// Chat Completions, whole: the texts of all rounds.
    var texts: [String] = []
    /// The end of the round, which may not be the client's.
    var ending: [EventSplitter.Event] = []
    var head: JSONObjectText?

    package init(_ request: InjectedRequest, _ tools: InjectedTools, streamed: Bool) {
        api = request.api
        isStreamed = streamed
        hidden = tools.names
        clientTools = request.clientTools
        isStored = request.isStored
        reader = AnswerReader(request.api, streamed: streamed)
    }

    /// The next answer begins.
    package mutating func begin() {
        rounds += 1
        reader = AnswerReader(api, streamed: isStreamed)
        round = InjectedRound()
        usage = nil
        splitter = EventSplitter()
        whole = ByteBuffer()
        places = [:]
        ending = []
        needsJoint = rounds > 1 && saysSomething
    }

    /// - Returns: what the client gets now.
    /// - Throws: `upstream` when the answer is longer than can be read.
    package mutating func take(_ chunk: ByteBuffer) throws(AppError) -> ByteBuffer {
        if !isStreamed {
            guard whole.readableBytes + chunk.readableBytes <= AnswerReader.defaultContentLimit else {
                throw AppError(.upstream, "The answer is longer than \(AnswerReader.defaultContentLimit) bytes.", source: .upstream)
            }
            whole.writeImmutableBuffer(chunk)
            return ByteBuffer()
        }
        // A comment keeps the connection alive: it must not wait for the next event.
        if splitter.isBetweenEvents, Self.isComment(chunk) { return chunk }
        try reader.feed(chunk)
        var output = ByteBuffer()
        for event in try splitter.split(chunk) { take(event, &output) }
        return output
    }

    /// A short one alone: behind the comment there may be an event in the same piece.
    private static func isComment(_ chunk: ByteBuffer) -> Bool {
        let bytes = chunk.readableBytesView
        let colon = UInt8(ascii: ":")
        guard bytes.count < 64, bytes.first == colon, bytes.suffix(2).elementsEqual("\n\n".utf8) else { return false }
        return bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).allSatisfy { $0.first == colon }
    }

    private mutating func take(_ event: EventSplitter.Event, _ output: inout ByteBuffer) {
        guard let data = event.text, let fields = JSONObjectText(data) else {
            // `[DONE]` ends the round; what else cannot be read is not ours to judge.
            if event.text == "[DONE]" { ending.append(event) } else { output.writeImmutableBuffer(event.bytes) }
            return
        }
        switch api {
        case .messages: messages(event, fields, &output)
        case .chatCompletions: chat(event, fields, &output)
        case .responses: responses(event, fields, &output)
        case .gemini: output.writeImmutableBuffer(event.bytes)
        }
    }

    /// The upstream's answer is over.
    package mutating func endRound() -> InjectedRound {
        if !isStreamed { try? reader.feed(whole) }
        reader.finish()
        if let rest = splitter.rest() { ending.append(rest) }
        round.isComplete = reader.isComplete && reader.error == nil
        round.text = reader.text
        round.stop = reader.stopReason
        if !isStreamed { readWhole() }
        if api != .responses {
            for case .toolUse(let id, let name, let input, let isComplete) in reader.blocks {
                note(id: id, name: name, arguments: input, isWhole: isComplete)
            }
            if round.turn.isEmpty { round.turn = InjectedRound.turn(reader.blocks, api) }
        }
        total = UsageSum.add(total, usage)
        if !round.calls.isEmpty { hasHidden = true }
        if !round.text.isEmpty { saysSomething = true }
        return round
    }

    mutating func note(id: String, name: String, arguments: String, isWhole: Bool) {
        if hidden.contains(name) {
            round.calls.append(.init(id: id, name: name, arguments: arguments, isWhole: isWhole))
        } else {
            round.clientCalls.append(id)
        }
    }

    /// Whether the client gets what no single answer of the upstream was.
    var isMerged: Bool { rounds > 1 || hasHidden }

    /// Responses: by which id the client knows the answer.
    package var shownResponse: String? { isStreamed ? id.flatMap(JSONText.string) : round.response }

    /// The end for the client, or all of an answer that is no stream.
    package mutating func close() -> ByteBuffer {
        if !isStreamed { return isMerged || api == .responses ? closedWhole() : whole }
        var output = ByteBuffer()
        for event in ending {
            switch api {
            case .messages: closeMessages(event, &output)
            case .chatCompletions: closeChat(event, &output)
            case .responses: closeResponses(event, &output)
            case .gemini: output.writeImmutableBuffer(event.bytes)
            }
        }
        ending = []
        return output
    }

    func pass(_ event: EventSplitter.Event, _ output: inout ByteBuffer) { output.writeImmutableBuffer(event.bytes) }

    static func write(_ fields: JSONObjectText, named: Bool = true, _ output: inout ByteBuffer) {
        if named, let type = fields.string("type") { output.writeString("event: \(JSONText.line(type))\n") }
        output.writeString("data: \(JSONText.line(fields.text))\n\n")
    }
}

extension EventSplitter.Event {
    /// Its data.
    var text: String? {
        if let joined { return String(decoding: joined, as: UTF8.self) }
        return data.flatMap { bytes.getString(at: bytes.readerIndex + $0.lowerBound, length: $0.count) }
    }
}
