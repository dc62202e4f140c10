import Core
import NIOCore

/// Turns an upstream's streamed answer into a stream of the client's protocol, piece by piece: bytes in, cut anywhere, whole
/// events out.
///
/// Nothing throws: whatever goes wrong becomes an error in the client's own shape, after which nothing more is written. What
/// comes out depends on the upstream's bytes alone, never on how they were cut. Memory is bounded by the reader's limits.
package struct AnswerTranslator: Sendable {
    /// Fed with all that the upstream sent: usage, content, end.
    package private(set) var reader: AnswerReader
    private let format: UpstreamFormat
    private let client: ModelProtocol
    private let requestID: String
    private var frames = EventStreamDecoder()
    private var converse = ConverseEvents()
    private var events = AnswerEvents()
    private var encoder: any AnswerEncoder
    private var pending: [AnswerEvent] = []
    private var isOver = false
    private var unsaid = Losses()

    package init(_ request: ClientRequest, from format: UpstreamFormat, _ context: AnswerContext) {
        self.format = format
        client = request.api
        requestID = context.requestID
        reader = AnswerReader(format.api, streamed: true)
        reader.prefersText = true
        encoder =
            switch client {
            // A request in Gemini's protocol is refused when it is read.
            case .messages, .gemini: MessagesAnswer(context: context)
            case .chatCompletions: ChatAnswer(context: context)
            case .responses: ResponsesAnswer(context: context)
            }
    }

    /// The client has got an end, proper or not.
    package var isFinished: Bool { isOver }

    /// What came in the answer and could not be carried over; named in the stream's last comment as well.
    package var losses: Losses {
        var losses = events.losses
        losses.merge(unsaid)
        return losses
    }

    /// Claude on Bedrock, asked in Anthropic's own protocol: the events pass as they are.
    private var passesEvents: Bool { format == .bedrockMessages && client == .messages }

    package mutating func receive(_ bytes: ByteBuffer) -> ByteBuffer {
        var output: [UInt8] = []
        if isOver { return ByteBuffer() }
        bytes.withUnsafeReadableBytes { chunk in
            do throws(AppError) {
                var position = 0
                if format == .bedrockConverse {
                    while !isOver, let frame = try frames.next(in: chunk, at: &position) { takeConverse(frame, &output) }
                } else if format == .bedrockMessages {
                    while !isOver, let frame = try frames.next(in: chunk, at: &position) { take(BedrockEvent(frame), &output) }
                } else {
                    while !isOver, try reader.readEvent(in: chunk, at: &position) { write(isEnd: false, &output) }
                }
            } catch {
                fail(UpstreamError(type: "api_error", message: error.message), &output)
            }
        }
        return ByteBuffer(bytes: output)
    }

    /// The upstream's bytes have ended, in an orderly way; whether that is the answer's end is for the answer to say.
    package mutating func finish() -> ByteBuffer {
        var output: [UInt8] = []
        if isOver { return ByteBuffer() }
        for data in converse.finish() { reader.readEvent(data: data) }
        reader.finish()
        write(isEnd: true, &output)
        if !isOver {
            let message = "The model's provider ended the answer before it was complete."
            fail(UpstreamError(type: "api_error", message: message), &output)
        }
        return ByteBuffer(bytes: output)
    }

    /// Ends the stream with an error: the upstream died, a time-out, a rule.
    package mutating func fail(_ error: UpstreamError) -> ByteBuffer {
        var output: [UInt8] = []
        fail(error, &output)
        return ByteBuffer(bytes: output)
    }

    /// Ends the stream such that the client takes it for an answer that reached its output limit.
    /// - Parameter reason: for people who read the stream: goes into a comment, on one line.
    package mutating func cut(reason: String) -> ByteBuffer {
        if isOver { return ByteBuffer() }
        if passesEvents {
            isOver = true
            return ErrorShape.cutEnd(reader, reason: reason, requestID: requestID)
        }
        var output: [UInt8] = []
        write(isEnd: false, &output)
        if isOver { return ByteBuffer(bytes: output) }
        guard reader.isStarted || !reader.builders.isEmpty else {
            fail(UpstreamError(type: "api_error", message: reason), &output)
            return ByteBuffer(bytes: output)
        }
        Self.comment("cut by slipway: \(reason)", &output)
        events.finish(reader, .maxTokens, &pending)
        encode(&output)
        return ByteBuffer(bytes: output)
    }

    // MARK: Parts

    private mutating func takeConverse(_ frame: EventStreamFrame, _ output: inout [UInt8]) {
        guard frame[":message-type"] == "event", let type = frame[":event-type"] else {
            return take(BedrockEvent(frame), &output)
        }
        for data in converse.take(type, frame.payload) {
            reader.readEvent(data: data)
            write(isEnd: false, &output)
        }
    }

    private mutating func take(_ event: BedrockEvent, _ output: inout [UInt8]) {
        switch event {
        case .other: break
        case .failed(let error): fail(error, &output)
        case .event(let data):
            reader.readEvent(data: data)
            guard passesEvents else { return write(isEnd: false, &output) }
            // A line break would end the event early; JSON needs none.
            if let name = BedrockEvent.name(of: data) { output.append(contentsOf: "event: \(name)\n".utf8) }
            output.append(contentsOf: "data: ".utf8)
            output.append(contentsOf: data.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
            output.append(contentsOf: "\n\n".utf8)
            isOver = reader.isComplete || reader.error != nil
        }
    }

    private mutating func write(isEnd: Bool, _ output: inout [UInt8]) {
        if passesEvents { return }
        events.take(reader, isEnd: isEnd, into: &pending)
        encode(&output)
    }

    private mutating func fail(_ error: UpstreamError, _ output: inout [UInt8]) {
        if isOver { return }
        events.fail(error, &pending)
        encode(&output)
    }

    private mutating func encode(_ output: inout [UInt8]) {
        for event in pending {
            switch event {
            case .stop, .failed:
                isOver = true
                if let lost = losses.headerValue { Self.comment("not translated: \(lost)", &output) }
            case .end(_, let block): if let name = block.unsaid(to: client) { unsaid.note(name) }
            case .start, .begin, .piece: break
            }
            encoder.write(event, into: &output)
        }
        pending.removeAll(keepingCapacity: true)
    }

    private static func comment(_ text: String, _ output: inout [UInt8]) {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        output.append(contentsOf: ": \(line)\n\n".utf8)
    }
}

extension AnswerBlock {
    /// What of a block the client's protocol has no place for: Chat Completions gives no thinking back.
    func unsaid(to client: ModelProtocol) -> String? {
        guard client == .chatCompletions else { return nil }
        switch self {
        case .thinking(_, let signature?): return Signature.origin(signature) == .gemini ? nil : "answer.thinking.signature"
        case .redactedThinking: return "answer.redacted_thinking"
        case .text, .thinking, .toolUse, .other: return nil
        }
    }
}
