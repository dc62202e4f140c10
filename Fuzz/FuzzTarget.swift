import Core
import ModelAPI
import NIOCore

/// What is fuzzed, and what must hold for any bytes whatever. A trap is a find, and so is every broken promise below.
enum FuzzTarget: String, CaseIterable {
    case sse, eventstream, json, request, answer

    func run(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .sse: Self.sse(Array(bytes))
        case .eventstream: Self.eventstream(Array(bytes))
        case .json: Self.json(Array(bytes))
        case .request: Self.request(Array(bytes))
        case .answer: Self.answer(Array(bytes))
        }
    }

    private static let clients: [ModelProtocol] = [.messages, .chatCompletions, .responses]

    /// The bytes in chunks whose lengths they give themselves.
    private static func chunks(_ bytes: [UInt8]) -> [ByteBuffer] {
        var chunks: [ByteBuffer] = []
        var position = 0
        while position < bytes.count {
            let length = min(bytes.count - position, 1 + Int(bytes[position] ^ UInt8(truncatingIfNeeded: position)) % 37)
            chunks.append(ByteBuffer(bytes: bytes[position..<position + length]))
            position += length
        }
        return chunks
    }

    private static func sse(_ bytes: [UInt8]) {
        func parse(_ chunks: [ByteBuffer]) -> [SSEEvent]? {
            var parser = SSEParser(limit: 4096)
            var events: [SSEEvent] = []
            for chunk in chunks {
                guard let some = try? parser.feed(chunk) else { return nil }
                events += some
            }
            if let last = parser.finish() { events.append(last) }
            return events
        }
        let whole = parse([ByteBuffer(bytes: bytes)])
        let cut = parse(chunks(bytes))
        // Where an event is too long is found earlier or later; what was read before is the same.
        if let whole, let cut { precondition(whole == cut, "the events depend on the cuts") }
    }

    private static func eventstream(_ bytes: [UInt8]) {
        func decode(_ chunks: [ByteBuffer]) -> (frames: [EventStreamFrame], isBroken: Bool) {
            var decoder = EventStreamDecoder(limit: 1 << 16)
            var frames: [EventStreamFrame] = []
            for chunk in chunks {
                do {
                    frames += try decoder.feed(chunk)
                } catch {
                    return (frames, true)
                }
            }
            return (frames, false)
        }
        let whole = decode([ByteBuffer(bytes: bytes)])
        let cut = decode(chunks(bytes))
        precondition(whole.isBroken == cut.isBroken, "whether frames are broken depends on the cuts")
        if !whole.isBroken { precondition(whole.frames == cut.frames, "the frames depend on the cuts") }
        // Checksums keep random bytes out: what the bytes say as a payload must come through.
        let frame = EventStreamFrame(headers: [(name: ":event-type", value: "chunk")], payload: bytes)
        precondition(decode(chunks(frame.encoded)).frames == (frame.encoded.count <= 1 << 16 ? [frame] : []))
    }

    private static func json(_ bytes: [UInt8]) {
        let body = ByteBuffer(bytes: bytes)
        for api in ModelProtocol.allCases {
            if let summary = try? RequestSummary.read(body, as: api, path: "models/m:generateContent") {
                for range in summary.messageRanges { precondition(bytes[range].first == UInt8(ascii: "{")) }
            }
            var reader = AnswerReader(api, streamed: false)
            try? reader.feed(body)
            reader.finish()
            precondition(!(reader.isComplete && reader.error != nil))
        }
        _ = UpstreamError.read(body)
        _ = EmbeddingUsage.read(body, as: .openAI)
        _ = try? EmbeddingSummary.read(body, as: .openAI)
        _ = try? BedrockBody.edits(body).reduce(0) { sum, edit in
            precondition(edit.range.upperBound <= bytes.count)
            return sum + edit.range.count
        }
    }

    private static func request(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let client = clients[Int(first) % 3]
        guard let request = try? ClientRequest.read(ByteBuffer(bytes: bytes.dropFirst()), as: client) else { return }
        for format in UpstreamFormat.allCases {
            guard let upstream = try? request.encode(for: format, model: "m") else { continue }
            precondition(upstream.losses.headerValue?.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ?? true)
            // Those name the model in the path, or are of no protocol that clients speak.
            if format == .bedrockMessages || format == .bedrockConverse { continue }
            do {
                _ = try RequestSummary.read(upstream.body, as: format.api, path: "models/m:generateContent")
            } catch {
                // What was just deep enough for us is one level deeper now.
                precondition(error.message.contains("levels"), "what was written cannot be read: \(error)")
            }
        }
    }

    private static let requests: [ClientRequest] = clients.map { client in
        let content = client == .responses ? #""input":"q""# : #""messages":[{"role":"user","content":"q"}]"#
        // Written here, so it can be read.
        return try! ClientRequest.read(ByteBuffer(string: "{\"model\":\"m\",\(content)}"), as: client)
    }

    private static func answer(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let formats = UpstreamFormat.allCases
        let format = formats[Int(first) % formats.count]
        let request = requests[Int(first) / formats.count % 3]
        guard let upstream = try? request.encode(for: format, model: "m") else { return }
        let context = AnswerContext(request, upstream, requestID: "r", created: 0)
        func translate(_ chunks: [ByteBuffer]) -> ByteBuffer {
            var translator = AnswerTranslator(request, from: format, context)
            var output = ByteBuffer()
            for chunk in chunks { output.writeImmutableBuffer(translator.receive(chunk)) }
            output.writeImmutableBuffer(translator.finish())
            precondition(translator.isFinished, "no end")
            return output
        }
        let stream = Array(bytes.dropFirst())
        let whole = translate([ByteBuffer(bytes: stream)])
        precondition(whole == translate(chunks(stream)), "the answer depends on the cuts")
        var reader = AnswerReader(request.api, streamed: true)
        try? reader.feed(whole)
        precondition(reader.isComplete != (reader.error != nil), "neither an end nor an error, or both")
        precondition(reader.bytesSinceBoundary == 0, "an event is open at the end")
        _ = try? WholeAnswer.translate(ByteBuffer(bytes: stream), request, from: format, context)
    }
}
