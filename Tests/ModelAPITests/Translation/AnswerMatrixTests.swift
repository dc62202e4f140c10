import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

/// One call through a translator: what an upstream sends, as the client gets it.
struct Translation {
    let client: ModelProtocol
    let format: UpstreamFormat
    let request: ClientRequest
    let context: AnswerContext

    init(_ client: ModelProtocol, _ format: UpstreamFormat, _ body: ByteBuffer? = nil) throws {
        self.client = client
        self.format = format
        request = try ClientRequest.read(body ?? TranslatedRequests.body(client), as: client)
        let upstream = try request.encode(for: format, model: RequestMatrixTests.model(format))
        context = AnswerContext(request, upstream, requestID: "req1", created: 1_700_000_000)
    }

    var translator: AnswerTranslator { AnswerTranslator(request, from: format, context) }

    func streamed(_ chunks: [ByteBuffer]) -> (text: String, translator: AnswerTranslator) {
        var translator = translator
        var output = ByteBuffer()
        for chunk in chunks { output.writeImmutableBuffer(translator.receive(chunk)) }
        output.writeImmutableBuffer(translator.finish())
        return (String(buffer: output), translator)
    }

    /// The recorded answer as this upstream sends it.
    static func stream(_ format: UpstreamFormat) -> [UInt8] {
        switch format {
        case .bedrockMessages: frames(Recorded.messagesStream)
        case .bedrockConverse:
            Recorded.converseStream.flatMap { type, payload in
                EventStreamFrame(headers: [(":event-type", type), (":message-type", "event")], payload: Array(payload.utf8)).encoded
            }
        default: Array(Recorded.stream(format.api).utf8)
        }
    }

    static func plain(_ format: UpstreamFormat) -> ByteBuffer {
        ByteBuffer(string: format == .bedrockConverse ? Recorded.conversePlain : Recorded.plain(format.api))
    }

    static func frames(_ stream: String) -> [UInt8] {
        var parser = SSEParser()
        let events = (try? parser.feed(ByteBuffer(string: stream))) ?? []
        return events.flatMap { chunk(Array($0.data.utf8)).encoded }
    }

    static func chunk(_ data: [UInt8]) -> EventStreamFrame {
        EventStreamFrame(
            headers: [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
            payload: Array("{\"bytes\":\"\(Base64.encode(data))\",\"p\":\"abc\"}".utf8))
    }
}

/// What an answer says, whichever protocol it was read in.
struct AnswerEssence: Equatable {
    var thinking = ""
    var text = ""
    var calls: [String] = []
    var stop: StopReason?
    var usage: [Int]
    var isComplete: Bool

    init(_ reader: AnswerReader) {
        for block in reader.blocks {
            switch block {
            case .text(let part): text += part
            case .thinking(let part, _): thinking += part
            case .toolUse(let id, let name, let input, let isComplete): calls.append("\(id) \(name) \(input) \(isComplete)")
            case .redactedThinking, .other: break
            }
        }
        stop = reader.stopReason
        isComplete = reader.isComplete && reader.error == nil
        let usage = reader.usage ?? Usage()
        self.usage = [usage.input, usage.cacheRead, usage.cacheWrite5m + usage.cacheWrite1h, usage.output, usage.reasoning]
    }
}

@Suite struct AnswerMatrixTests {
    static let pairs: [(ModelProtocol, UpstreamFormat)] = TranslatedRequests.clients.flatMap { client in
        UpstreamFormat.allCases.map { (client, $0) }
    }

    @Test(arguments: pairs) func `a streamed answer says the same in the client's protocol`(_ pair: (ModelProtocol, UpstreamFormat))
        throws
    {
        let translation = try Translation(pair.0, pair.1)
        let (text, translator) = translation.streamed([ByteBuffer(bytes: Translation.stream(pair.1))])
        #expect(translator.isFinished)
        var reader = AnswerReader(pair.0, streamed: true)
        try reader.feed(ByteBuffer(string: text))
        #expect(reader.isComplete && reader.bytesSinceBoundary == 0 && reader.unreadableEvents == 0 && reader.usageIsFinal)
        let upstream = AnswerEssence(translator.reader)
        #expect(AnswerEssence(reader) == upstream)
        #expect(upstream.isComplete && upstream.calls.count >= 1 && upstream.stop == .toolUse)
        #expect(!text.contains("\u{FFFD}"))
        #expect(reader.id == translator.reader.id ?? reader.id && reader.model == translator.reader.model ?? reader.model)
        #expect(reader.id?.isEmpty == false && reader.model?.isEmpty == false)
        if pair.1 == .responses { #expect(text.contains(": not translated: answer.web_search_call")) }
    }

    @Test(arguments: pairs) func `a whole answer says the same in the client's protocol`(_ pair: (ModelProtocol, UpstreamFormat))
        throws
    {
        let translation = try Translation(pair.0, pair.1)
        let whole = try WholeAnswer.translate(
            Translation.plain(pair.1), translation.request, from: pair.1, translation.context)
        var reader = AnswerReader(pair.0, streamed: false)
        try reader.feed(whole.body)
        reader.finish()
        #expect(AnswerEssence(reader) == AnswerEssence(whole.reader))
        #expect(reader.isComplete)
        // And what was streamed is what comes in one piece.
        let streamed = translation.streamed([ByteBuffer(bytes: Translation.stream(pair.1))]).translator
        #expect(AnswerEssence(streamed.reader) == AnswerEssence(whole.reader))
        _ = try JSONSerialization.jsonObject(with: Data(whole.body.readableBytesView))
    }

    @Test(arguments: pairs) func `how the bytes are cut does not show`(_ pair: (ModelProtocol, UpstreamFormat)) throws {
        let translation = try Translation(pair.0, pair.1)
        let bytes = Translation.stream(pair.1)
        let expected = translation.streamed([ByteBuffer(bytes: bytes)]).text
        #expect(translation.streamed(bytes.map { ByteBuffer(bytes: [$0]) }).text == expected)
        for seed in 0..<20 {
            var random = SeededGenerator(seed: UInt64(seed))
            #expect(translation.streamed(bytes.chunks(&random, longest: 1 + seed * 20)).text == expected, "seed \(seed)")
        }
        // Whatever was received so far, what was written ends between two events.
        var translator = translation.translator
        var reader = AnswerReader(pair.0, streamed: true)
        for byte in bytes {
            try reader.feed(translator.receive(ByteBuffer(bytes: [byte])))
            if reader.bytesSinceBoundary != 0 { Issue.record("an event was left open") }
        }
    }

    @Test(arguments: pairs) func `what the client sends back is what the upstream gave`(_ pair: (ModelProtocol, UpstreamFormat))
        throws
    {
        let translation = try Translation(pair.0, pair.1)
        let whole = try WholeAnswer.translate(
            Translation.plain(pair.1), translation.request, from: pair.1, translation.context)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(whole.body.readableBytesView)) as? [String: Any])
        let first: [String: Any] = ["role": "user", "content": "q"]
        var next: [String: Any] = ["model": "m"]
        switch pair.0 {
        case .messages:
            next["messages"] = [first, ["role": "assistant", "content": try #require(object["content"])]]
        case .chatCompletions:
            next["messages"] = [first, try #require((object["choices"] as? [[String: Any]])?.first?["message"])]
        case .responses, .gemini: next["input"] = [first] + (object["output"] as? [[String: Any]] ?? [])
        }
        let body = ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: next))
        let request = try ClientRequest.read(body, as: pair.0)
        #expect(request.losses.isEmpty, "\(request.losses.names)")
        let sent = try request.encode(for: pair.1, model: RequestMatrixTests.model(pair.1))
        let text = String(buffer: sent.body)
        for block in whole.reader.blocks {
            switch block {
            case .toolUse(_, let name, _, _): #expect(text.contains("\"\(name)\""))
            case .text(let said): #expect(text.contains(JSONWriter.object { $0.field("t", said) }.text.dropFirst(6).dropLast(2)))
            case .thinking(let thought, let signature):
                // Chat Completions clients keep thoughts, but no proofs of them; Gemini's travel with the call.
                guard let signature else {
                    #expect(text.contains("\"reasoning_content\":\"\(thought)\"") == (pair.1 == .chatCompletions))
                    continue
                }
                let comesBack = pair.0 != .chatCompletions || pair.1 == .gemini && thought.isEmpty
                let proof = pair.1 == .responses ? "gAAAA+" : signature
                #expect(text.replacing("\\/", with: "/").contains(proof) == comesBack, "\(pair) \(text)")
            case .redactedThinking, .other: break
            }
        }
    }

    @Test func `Bedrock's events pass to Anthropic's clients byte for byte`() throws {
        let translation = try Translation(.messages, .bedrockMessages)
        let strange = #"{ "type":"content_block_delta" ,"index":0,"delta":{"type":"text_delta","text":"\u00fc"}, "new": [1.50] }"#
        let stream = Recorded.messagesStream.replacing(
            "data: {\"type\":\"content_block_start\",\"index\":2",
            with: "data: \(strange)\n\ndata: {\"type\":\"content_block_start\",\"index\":2")
        let output = translation.streamed([ByteBuffer(bytes: Translation.frames(stream))]).text
        var sent = SSEParser()
        var got = SSEParser()
        let expected = try sent.feed(ByteBuffer(string: stream)).map(\.data)
        #expect(try got.feed(ByteBuffer(string: output)).map(\.data) == expected && output.contains(strange))
        #expect(output.contains("event: message_start\n"))
    }

    @Test func `a tool that takes a text gets its text`() throws {
        let body =
            #"{"model":"m","input":"q","stream":true,"tools":[{"type":"custom","name":"apply_patch","description":"Patches.","format":{"type":"grammar","syntax":"lark","definition":"start: x"}}]}"#
        let translation = try Translation(.responses, .messages, ByteBuffer(string: body))
        let sent = try translation.request.encode(for: .messages, model: "claude-sonnet-4-5")
        #expect(String(buffer: sent.body).contains("start: x") && sent.losses.names == ["tools.format.grammar"])
        let stream = """
            data: {"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":1}}}

            data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"apply_patch","input":{}}}

            data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"input\\": \\"a\\\\n"}}

            data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"b\\"}"}}

            data: {"type":"content_block_stop","index":0}

            data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":3}}

            data: {"type":"message_stop"}


            """
        let output = translation.streamed([ByteBuffer(string: stream)]).text
        #expect(
            output.contains(#""type":"custom_tool_call","status":"completed","call_id":"t","name":"apply_patch","input":"a\nb""#))
        #expect(output.contains(#""type":"response.custom_tool_call_input.done""#) && !output.contains("function_call"))
        // It comes back as the object that the model wrote.
        let next =
            #"{"model":"m","input":[{"type":"custom_tool_call","call_id":"t","name":"apply_patch","input":"a\nb"},{"type":"custom_tool_call_output","call_id":"t","output":"ok"}]}"#
        let again = try ClientRequest.read(ByteBuffer(string: next), as: .responses).encode(
            for: .messages, model: "claude-sonnet-4-5")
        #expect(String(buffer: again.body).contains(#""input":{"input":"a\nb"}"#))
    }

    @Test func `a text that goes on behind a call is a block of its own`() throws {
        let stream = """
            data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"one "}}]}

            data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"read_file","arguments":"{"}}]}}]}

            data: {"id":"c","choices":[{"index":0,"delta":{"content":"two","tool_calls":[{"index":1,"id":"b","function":{"name":"list"}},{"index":0,"function":{"arguments":"}"}}]}}]}

            data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":6}}

            data: [DONE]


            """
        let output = try Translation(.messages, .chatCompletions).streamed([ByteBuffer(string: stream)]).text
        var reader = AnswerReader(.messages, streamed: true)
        try reader.feed(ByteBuffer(string: output))
        #expect(
            reader.blocks == [
                .text("one "), .toolUse(id: "a", name: "read_file", inputJSON: "{}", isComplete: true), .text("two"),
                .toolUse(id: "b", name: "list", inputJSON: "{}", isComplete: true),
            ])
        #expect(reader.isComplete && reader.usage == Usage(input: 5, output: 6))
    }
}
