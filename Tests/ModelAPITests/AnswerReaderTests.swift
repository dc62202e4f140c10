import Core
import NIOCore
import Testing

@testable import ModelAPI

/// All that a reader says at the end, and the previews on the way.
struct Reading: Equatable {
    var blocks: [AnswerBlock]
    var usage: Usage?
    var stopReason: StopReason?
    var isComplete: Bool
    var usageIsFinal: Bool
    var error: UpstreamError?
    var id: String?
    var model: String?
    var generatedBytes: Int
    var boundary: Int
    var deltas: [AnswerDelta]

    init(_ api: ModelProtocol, streamed: Bool = true, _ chunks: [ByteBuffer]) throws {
        var reader = AnswerReader(api, streamed: streamed)
        var deltas: [AnswerDelta] = []
        for chunk in chunks { try reader.feed(chunk) { deltas.append($0) } }
        boundary = reader.bytesSinceBoundary
        reader.finish { deltas.append($0) }
        blocks = reader.blocks
        usage = reader.usage
        stopReason = reader.stopReason
        isComplete = reader.isComplete
        usageIsFinal = reader.usageIsFinal
        error = reader.error
        id = reader.id
        model = reader.model
        generatedBytes = reader.generatedBytes
        self.deltas = deltas
    }

    init(_ api: ModelProtocol, streamed: Bool = true, _ text: String) throws {
        try self.init(api, streamed: streamed, [ByteBuffer(string: text)])
    }
}

@Suite struct AnswerReaderTests {
    static let messagesBlocks: [AnswerBlock] = [
        .thinking(
            text: "Let me look\nat \"it\" — first 😀.", signature: "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds=="),
        .text("Okay, über😀 C:\\dir\t日本語"),
        .toolUse(id: "toolu_01T1x", name: "read_file", inputJSON: #"{"path": "a/b.swift"}"#, isComplete: true),
        .toolUse(id: "toolu_02", name: "list_files", inputJSON: "{}", isComplete: true),
    ]

    static let chatBlocks: [AnswerBlock] = [
        .thinking(text: "hmm", signature: nil), .text("Okay, 😀 über"),
        .toolUse(id: "call_a", name: "read_file", inputJSON: #"{"path":"x"}"#, isComplete: true),
        .toolUse(id: "call_b", name: "list_files", inputJSON: "{}", isComplete: true),
    ]

    @Test func `a streamed message gives its blocks, usage and end`() throws {
        let reading = try Reading(.messages, Recorded.messagesStream)
        #expect(reading.blocks == Self.messagesBlocks)
        #expect(
            reading.usage
                == Usage(
                    input: 2095, cacheRead: 18000, cacheWrite5m: 1051, cacheWrite1h: 1000, output: 503, webSearches: 2,
                    serviceTier: .standard))
        #expect(reading.stopReason == .toolUse)
        #expect(reading.isComplete && reading.usageIsFinal)
        #expect(reading.error == nil)
        #expect(reading.id == "msg_01XFD" && reading.model == "claude-sonnet-4-5-20250929")
        #expect(reading.boundary == 0)
        #expect(
            reading.deltas == [
                .thinking("Let me look\nat \"it\""), .thinking(" — first 😀."), .text("Okay, über😀 C:\\dir\t"), .text("日本語"),
                .toolUse(index: 2, id: "toolu_01T1x", name: "read_file"), .toolInput(index: 2, json: "{\"path\": \"a"),
                .toolUse(index: 3, id: "toolu_02", name: "list_files"), .toolInput(index: 2, json: "/b.swift\"}"),
            ])
    }

    @Test func `the same message not streamed gives the same`() throws {
        let streamed = try Reading(.messages, Recorded.messagesStream)
        let plain = try Reading(.messages, streamed: false, Recorded.messagesPlain)
        #expect(plain.blocks == streamed.blocks)
        // Only the stream says by which service it was served.
        var usage = plain.usage
        usage?.serviceTier = .standard
        #expect(plain.usage?.serviceTier == nil && usage == streamed.usage && plain.stopReason == streamed.stopReason)
        #expect(plain.isComplete && plain.usageIsFinal && plain.id == streamed.id && plain.model == streamed.model)
    }

    @Test func `a streamed chat completion gives its blocks, usage and end`() throws {
        let reading = try Reading(.chatCompletions, Recorded.chatStream)
        #expect(reading.blocks == Self.chatBlocks)
        #expect(reading.usage == Usage(input: 93, cacheRead: 1024, output: 46, reasoning: 32))
        #expect(reading.stopReason == .toolUse && reading.isComplete && reading.usageIsFinal && reading.error == nil)
        let plain = try Reading(.chatCompletions, streamed: false, Recorded.chatPlain)
        #expect(Set(plain.blocks) == Set(reading.blocks) && plain.usage == reading.usage && plain.stopReason == reading.stopReason)
        #expect(plain.isComplete && plain.usageIsFinal)
    }

    @Test(arguments: ModelProtocol.allCases, ["\n", "\r", "\r\n"])
    func `every place to cut the stream gives the same reading`(api: ModelProtocol, ending: String) throws {
        let recorded = Recorded.stream(api)
        let bytes = Array(recorded.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: ending).utf8)
        let expected = try Reading(api, [ByteBuffer(bytes: bytes)])
        #expect(expected.isComplete && expected.blocks.count >= 4)
        for place in 0...bytes.count {
            let reading = try Reading(api, [ByteBuffer(bytes: bytes[..<place]), ByteBuffer(bytes: bytes[place...])])
            #expect(reading == expected, "cut at \(place)")
        }
        #expect(try Reading(api, bytes.map { ByteBuffer(bytes: [$0]) }) == expected)
        for seed in 0..<60 {
            var random = SeededGenerator(seed: UInt64(seed))
            #expect(try Reading(api, bytes.chunks(&random, longest: 1 << (seed % 9))) == expected, "seed \(seed)")
        }
    }

    @Test(arguments: ModelProtocol.allCases)
    func `a stream cut anywhere before its end is never complete`(api: ModelProtocol) throws {
        let bytes = Array(Recorded.stream(api).utf8)
        let text = String(decoding: bytes, as: UTF8.self)
        // The last event that makes it complete, without its line end: from here on the cut one says all of it.
        let mark =
            switch api {
            case .messages: "data: {\"type\":\"message_stop\"}"
            case .chatCompletions: "\"finish_reason\":\"tool_calls\"}],\"usage\":null}"
            case .responses, .gemini: String(text.split(separator: "\n").last ?? "")
            }
        let end = text.utf8.distance(from: text.startIndex, to: text.range(of: mark)!.upperBound)
        for place in 0..<end {
            let reading = try Reading(api, [ByteBuffer(bytes: bytes[..<place])])
            #expect(!reading.isComplete, "cut at \(place)")
            for case .toolUse(_, _, let input, true) in reading.blocks { #expect(JSONCursor.isObject(input)) }
        }
        #expect(try Reading(api, [ByteBuffer(bytes: bytes[..<end])]).isComplete)
    }

    @Test func `before the end of an open stream a chat completion is not complete`() throws {
        let text = Recorded.chatStream
        var reader = AnswerReader(.chatCompletions, streamed: true)
        let beforeUsage = text.range(
            of:
                "data: {\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"created\":1723056123,\"model\":\"gpt-5-mini\",\"choices\":[],"
        )!.lowerBound
        try reader.feed(ByteBuffer(string: String(text[..<beforeUsage])))
        #expect(reader.stopReason == .toolUse && !reader.isComplete && reader.usage == nil)
        try reader.feed(
            ByteBuffer(
                string: String(text[beforeUsage...].prefix { $0 != "[" })
                    + "[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"))
        #expect(reader.isComplete && reader.usageIsFinal)
    }

    // MARK: Errors

    @Test func `an error in mid-stream is reported and the answer is not complete`() throws {
        let start = Recorded.messagesStream.range(of: "event: message_delta")!.lowerBound
        let cut = String(Recorded.messagesStream[..<start])
        let reading = try Reading(
            .messages,
            cut
                + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
        )
        #expect(reading.error == UpstreamError(type: "overloaded_error", message: "Overloaded"))
        #expect(!reading.isComplete && reading.blocks == Self.messagesBlocks && !reading.usageIsFinal)
        let chat = try Reading(
            .chatCompletions,
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"code\":503}}\n\ndata: [DONE]\n\n"
        )
        #expect(chat.error == UpstreamError(type: "server_error", message: "gone", code: "503"))
        #expect(!chat.isComplete)
        let text = try Reading(.chatCompletions, "data: {\"error\":\"out of memory\"}\n\n")
        #expect(text.error?.message == "out of memory" && !text.isComplete)
    }

    @Test func `an error body instead of an answer is read as the error it is`() throws {
        let body = #"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"req_1"}"#
        #expect(
            try Reading(.messages, streamed: false, body).error == UpstreamError(type: "rate_limit_error", message: "slow down"))
        #expect(UpstreamError.read(ByteBuffer(string: body)) == UpstreamError(type: "rate_limit_error", message: "slow down"))
        let openAI =
            #"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#
        let expected = UpstreamError(type: "invalid_request_error", message: "too long", code: "context_length_exceeded")
        #expect(UpstreamError.read(ByteBuffer(string: openAI)) == expected)
        #expect(try Reading(.chatCompletions, streamed: false, openAI).error == expected)
        #expect(UpstreamError.read(ByteBuffer(string: #"{"detail":"Not Found"}"#)).message == "Not Found")
        #expect(
            UpstreamError.read(ByteBuffer(string: #"{"object":"error","message":"no","type":"BadRequest","code":400}"#)).type
                == "BadRequest")
        #expect(UpstreamError.read(ByteBuffer(string: "<html>502</html>")).message == "<html>502</html>")
        #expect(UpstreamError.read(ByteBuffer()).message == "The provider gave no reason.")
        #expect(UpstreamError.read(ByteBuffer(string: String(repeating: "x", count: 9000))).message.count == 500)
    }

    @Test func `a plain answer that is no JSON, or cut, is not complete and says where it breaks`() throws {
        for place in 0..<Recorded.messagesPlain.utf8.count {
            let bytes = Array(Recorded.messagesPlain.utf8)[..<place]
            let reading = try Reading(.messages, streamed: false, [ByteBuffer(bytes: bytes)])
            #expect(!reading.isComplete)
            if place > 0 { #expect(reading.error?.type == "invalid_answer", "cut at \(place)") }
        }
        let html = try Reading(.messages, streamed: false, "<html>")
        #expect(html.error?.message == "The answer is not valid JSON at byte 0: expected a value.")
    }

    // MARK: Variants of other servers

    @Test func `parallel calls that all come at index 0 are told apart by their ids`() throws {
        let reading = try Reading(
            .chatCompletions,
            """
            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{\\"n\\":1}"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"x","arguments":"{\\"n\\":"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":"2}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":6}}


            """)
        #expect(
            reading.blocks == [
                .toolUse(id: "a", name: "x", inputJSON: #"{"n":1}"#, isComplete: true),
                .toolUse(id: "b", name: "x", inputJSON: #"{"n":2}"#, isComplete: true),
            ])
        #expect(reading.isComplete && reading.usageIsFinal && reading.usage == Usage(input: 5, output: 6))
    }

    @Test func `usage of DeepSeek, Moonshot, Groq and Mistral is read where each puts it`() throws {
        func usage(_ chunk: String) throws -> Usage? { try Reading(.chatCompletions, "data: \(chunk)\n\ndata: [DONE]\n\n").usage }
        let stop = #""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#
        #expect(
            try usage(
                "{\(stop),\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36}}"
            )
                == Usage(input: 36, cacheRead: 64, output: 7))
        #expect(
            try usage(
                #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":10,"completion_tokens":3,"cached_tokens":4}}]}"#
            )
                == Usage(input: 6, cacheRead: 4, output: 3))
        #expect(
            try usage("{\(stop),\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}}")
                == Usage(input: 10, output: 3))
        let mistral = try Reading(
            .chatCompletions, streamed: false,
            #"{"choices":[{"index":0,"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"hi"}],"tool_calls":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":null}}"#
        )
        #expect(mistral.blocks == [.thinking(text: "t", signature: nil), .text("hi")])
        #expect(mistral.usage == Usage(input: 9, output: 2) && mistral.isComplete)
    }

    @Test func `more cached than prompt tokens, negative and absurd counts do no harm`() throws {
        let odd = try Reading(
            .chatCompletions, streamed: false,
            #"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":-3,"prompt_tokens_details":{"cached_tokens":1e12}}}"#)
        #expect(odd.usage == Usage(cacheRead: 1_000_000_000, output: 0))
        let fraction = try Reading(
            .messages, streamed: false,
            #"{"usage":{"input_tokens":1.5,"output_tokens":2.0,"cache_read_input_tokens":99999999999999999999999}}"#)
        #expect(fraction.usage == Usage(output: 2))
    }

    // MARK: Usage of Messages

    @Test func `message_delta replaces field by field, null replaces nothing and the cache split stays`() throws {
        func usage(start: String, delta: String) throws -> Usage? {
            try Reading(
                .messages,
                "data: {\"type\":\"message_start\",\"message\":{\"usage\":\(start)}}\n\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":\(delta)}\n\n"
            ).usage
        }
        let split =
            #"{"input_tokens":10,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}"#
        #expect(
            try usage(start: split, delta: #"{"output_tokens":5,"input_tokens":null}"#)
                == Usage(input: 10, cacheWrite5m: 10, cacheWrite1h: 20, output: 5))
        #expect(
            try usage(start: split, delta: #"{"output_tokens":5,"input_tokens":12,"cache_creation_input_tokens":30}"#)
                == Usage(input: 12, cacheWrite5m: 10, cacheWrite1h: 20, output: 5))
        // What the split does not explain is priced at five minutes and flagged.
        #expect(
            try usage(start: split, delta: #"{"output_tokens":5,"cache_creation_input_tokens":40}"#)
                == Usage(input: 10, cacheWrite5m: 20, cacheWrite1h: 20, output: 5, ttlUnknown: true))
        #expect(
            try usage(
                start: #"{"input_tokens":10,"cache_creation_input_tokens":7,"output_tokens":1}"#, delta: #"{"output_tokens":5}"#)
                == Usage(input: 10, cacheWrite5m: 7, output: 5, ttlUnknown: true))
        #expect(
            try usage(
                start: #"{"input_tokens":10,"cache_creation_input_tokens":0,"cache_creation":null,"output_tokens":1}"#,
                delta: #"{"output_tokens":5}"#) == Usage(input: 10, output: 5))
    }

    // MARK: Unknown and hostile

    @Test func `a block of an unknown kind is kept as it came, with the input that followed`() throws {
        let reading = try Reading(
            .messages,
            """
            data: {"type":"message_start","message":{"id":"m"}}

            data: {"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{},"caller":{"type":"direct"}}}

            data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"query\\":\\"x\\"}"}}

            data: {"type":"content_block_stop","index":0}

            data: {"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","content":[{"a":[1, 2]}]}}

            data: {"type":"content_block_stop","index":1}

            data: {"type":"content_block_start","index":2,"content_block":{"type":"redacted_thinking","data":"EmwK"}}


            """)
        #expect(
            reading.blocks == [
                .other(
                    json:
                        #"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"},"caller":{"type":"direct"}}"#
                ),
                .other(json: #"{"type":"web_search_tool_result","content":[{"a":[1, 2]}]}"#), .redactedThinking(data: "EmwK"),
            ])
    }

    @Test func `events that are no JSON are counted and passed over`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        try reader.feed(ByteBuffer(string: "data: hello\n\ndata: {\"type\":\n\ndata: []\n\n"))
        #expect(reader.unreadableEvents == 3)
        try reader.feed(ByteBuffer(string: Recorded.messagesStream))
        reader.finish()
        #expect(reader.isComplete && reader.blocks == Self.messagesBlocks)
    }

    @Test func `content beyond the limit is not kept, but usage and end are read`() throws {
        var reader = AnswerReader(.messages, streamed: true, contentLimit: 40)
        try reader.feed(ByteBuffer(string: Recorded.messagesStream))
        reader.finish()
        #expect(reader.isTruncated && reader.isComplete && reader.usage?.output == 503)
        #expect(reader.blocks != Self.messagesBlocks)
        var silent = AnswerReader(.messages, streamed: true, keepsContent: false)
        try silent.feed(ByteBuffer(string: Recorded.messagesStream))
        #expect(silent.text.isEmpty && silent.generatedBytes > 100 && silent.isComplete && !silent.isTruncated)
        var plain = AnswerReader(.messages, streamed: false, contentLimit: 40)
        #expect(throws: AppError.self) { try plain.feed(ByteBuffer(string: Recorded.messagesPlain)) }
    }

    @Test func `endless blocks do not fill the memory`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        let block = "data: {\"type\":\"content_block_start\",\"index\":7,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
        for _ in 0..<10_000 { try reader.feed(ByteBuffer(string: block)) }
        #expect(reader.blocks.count == AnswerReader.mostBlocks && reader.isTruncated)
    }
}
