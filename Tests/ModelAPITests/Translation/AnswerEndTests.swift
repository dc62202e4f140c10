import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct AnswerEndTests {
    /// What comes before the upstream's last words.
    private static func beginning(_ format: UpstreamFormat) -> [UInt8] {
        let bytes = Translation.stream(format)
        return Array(bytes.prefix(bytes.count * 6 / 10))
    }

    @Test(arguments: AnswerMatrixTests.pairs) func `an upstream that dies is an error, never a clean end`(
        _ pair: (ModelProtocol, UpstreamFormat)
    ) throws {
        let translation = try Translation(pair.0, pair.1)
        for count in [0, 1, Self.beginning(pair.1).count] {
            let output = translation.streamed([ByteBuffer(bytes: Self.beginning(pair.1).prefix(count))]).text
            var reader = AnswerReader(pair.0, streamed: true)
            try reader.feed(ByteBuffer(string: output))
            reader.finish()
            #expect(reader.error?.message.contains("before it was complete") == true, "\(output.suffix(300))")
            #expect(!reader.isComplete)
        }
    }

    /// Found by the fuzzer.
    @Test(arguments: TranslatedRequests.clients) func `an end of an answer that never began is an error`(_ client: ModelProtocol)
        throws
    {
        for stream in ["data: [DONE]\n\n", "data: {\"id\":\"chatcmpl\n\ndata: [DONE]\n\n"] {
            let output = try Translation(client, .chatCompletions).streamed([ByteBuffer(string: stream)]).text
            var reader = AnswerReader(client, streamed: true)
            try reader.feed(ByteBuffer(string: output))
            reader.finish()
            #expect(reader.error?.message.contains("never began") == true, "\(output)")
            #expect(!reader.isComplete)
        }
    }

    @Test(arguments: AnswerMatrixTests.pairs) func `a cut answer is one that reached its limit`(
        _ pair: (ModelProtocol, UpstreamFormat)
    ) throws {
        let translation = try Translation(pair.0, pair.1)
        var translator = translation.translator
        var output = translator.receive(ByteBuffer(bytes: Self.beginning(pair.1)))
        output.writeImmutableBuffer(translator.cut(reason: "budget\nspent"))
        #expect(translator.isFinished)
        #expect(translator.receive(ByteBuffer(bytes: Translation.stream(pair.1))).readableBytes == 0)
        #expect(translator.finish().readableBytes == 0)
        let text = String(buffer: output)
        var reader = AnswerReader(pair.0, streamed: true)
        try reader.feed(output)
        #expect(reader.isComplete && reader.error == nil && reader.bytesSinceBoundary == 0)
        #expect(reader.stopReason == .maxTokens && text.contains(": cut by slipway: budget spent\n\n"))
        #expect(reader.text == translator.reader.text)
    }

    @Test(arguments: AnswerMatrixTests.pairs) func `an error in mid-stream comes in the client's shape`(
        _ pair: (ModelProtocol, UpstreamFormat)
    ) throws {
        let (client, format) = pair
        let head = Array(Translation.stream(format).prefix(0))
        let error: [UInt8] =
            switch format {
            case .messages:
                Array(
                    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Busy.\"}}\n\n"
                        .utf8)
            case .chatCompletions:
                Array(
                    "data: {\"error\":{\"message\":\"Busy.\",\"type\":\"server_error\",\"code\":\"server_is_overloaded\"}}\n\n".utf8
                )
            case .responses:
                Array(
                    "data: {\"type\":\"error\",\"code\":\"server_is_overloaded\",\"message\":\"Busy.\",\"sequence_number\":3}\n\n"
                        .utf8)
            case .gemini: Array("data: {\"error\":{\"code\":503,\"message\":\"Busy.\",\"status\":\"UNAVAILABLE\"}}\n\n".utf8)
            case .bedrockMessages, .bedrockConverse:
                EventStreamFrame(
                    headers: [(":message-type", "exception"), (":exception-type", "serviceUnavailableException")],
                    payload: Array("{\"message\":\"Busy.\"}".utf8)
                ).encoded
            }
        let output = try Translation(client, format).streamed([ByteBuffer(bytes: head + error)]).text
        var reader = AnswerReader(client, streamed: true)
        try reader.feed(ByteBuffer(string: output))
        #expect(reader.error?.message == "Busy.", "\(output)")
        switch client {
        case .messages: #expect(reader.error?.type == "overloaded_error")
        default: #expect(reader.error?.code == "server_is_overloaded")
        }
        if client == .responses {
            #expect(output.contains("event: response.failed\n") && output.contains(#""sequence_number":1"#))
        }
    }

    @Test func `errors of a failed call keep their meaning in every protocol`() {
        let cases: [(UpstreamError, Int?, Failure.Kind, Int, String, Int, String)] = [
            (
                .init(type: "invalid_request_error", message: "x"), 400, .invalidRequest, 400, "invalid_request_error", 400,
                "invalid_request_error"
            ),
            (
                .init(type: "authentication_error", message: "x"), 401, .authentication, 401, "authentication_error", 401,
                "authentication_error"
            ),
            (
                .init(type: "insufficient_quota", message: "x", code: "insufficient_quota"), 429, .quota, 402, "billing_error", 429,
                "insufficient_quota"
            ),
            (.init(type: "error", message: "x"), 402, .quota, 402, "billing_error", 429, "insufficient_quota"),
            (
                .init(type: "PERMISSION_DENIED", message: "x", code: "403"), 403, .permission, 403, "permission_error", 403,
                "permission_error"
            ),
            (
                .init(type: "invalid_request_error", message: "x", code: "model_not_found"), 404, .notFound, 404, "not_found_error",
                404, "not_found_error"
            ),
            (.init(type: "error", message: "x"), 413, .tooLarge, 413, "request_too_large", 413, "invalid_request_error"),
            (.init(type: "RESOURCE_EXHAUSTED", message: "x"), 429, .rateLimit, 429, "rate_limit_error", 429, "rate_limit_exceeded"),
            (
                .init(type: "ThrottlingException:http://x", message: "x"), 400, .rateLimit, 429, "rate_limit_error", 429,
                "rate_limit_exceeded"
            ),
            (.init(type: "overloaded_error", message: "x"), 529, .overloaded, 529, "overloaded_error", 503, "server_error"),
            (.init(type: "modelTimeoutException", message: "x"), nil, .timeout, 504, "timeout_error", 504, "timeout_error"),
            (.init(type: "error", message: "x"), 500, .server, 500, "api_error", 500, "server_error"),
            (.init(type: "what", message: "x"), nil, .server, 500, "api_error", 500, "server_error"),
        ]
        for (error, status, kind, anthropic, anthropicType, openAI, openAIType) in cases {
            let failure = Failure(error, status: status)
            #expect(failure.kind == kind, "\(error)")
            #expect(failure.status(.messages) == anthropic && failure.type(.messages) == anthropicType, "\(error)")
            #expect(failure.status(.chatCompletions) == openAI && failure.type(.responses) == openAIType, "\(error)")
            for client in TranslatedRequests.clients {
                let answer = failure.answer(client, requestID: "r")
                #expect(
                    UpstreamError.read(answer.body).type == failure.type(client) && UpstreamError.read(answer.body).message == "x")
            }
        }
    }

    @Test func `a conversation that is too long is said such that clients compact it`() {
        for message in [
            "prompt is too long: 210000 tokens > 200000 maximum", "This model's maximum context length is 128000 tokens.",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ] {
            let failure = Failure(UpstreamError(type: "invalid_request_error", message: message), status: 400)
            #expect(failure.kind == .contextLength)
            let anthropic = UpstreamError.read(failure.answer(.messages, requestID: "r").body)
            #expect(
                anthropic.message.hasPrefix("prompt is too long")
                    && anthropic.message.contains("capability_rejected: prompt_too_long"))
            #expect(anthropic.message.contains(message))
            let openAI = UpstreamError.read(failure.answer(.responses, requestID: "r").body)
            #expect(openAI.code == "context_length_exceeded" && openAI.message == message)
        }
    }

    @Test func `stop reasons keep their meaning`() throws {
        func client(_ client: ModelProtocol, _ word: String) throws -> StopReason? {
            let stream = """
                data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}

                data: {"type":"message_delta","delta":{"stop_reason":"\(word)","stop_sequence":"END"},"usage":{"output_tokens":1}}

                data: {"type":"message_stop"}


                """
            let output = try Translation(client, .messages).streamed([ByteBuffer(string: stream)]).text
            var reader = AnswerReader(client, streamed: true)
            try reader.feed(ByteBuffer(string: output))
            #expect(reader.isComplete)
            if client == .messages { #expect(reader.stopSequence == "END") }
            return reader.stopReason
        }
        let table: [(String, StopReason, StopReason, StopReason)] = [
            ("end_turn", .endTurn, .endTurn, .endTurn), ("max_tokens", .maxTokens, .maxTokens, .maxTokens),
            ("stop_sequence", .stopSequence, .endTurn, .endTurn), ("refusal", .refusal, .refusal, .refusal),
            ("model_context_window_exceeded", .contextExceeded, .maxTokens, .maxTokens), ("new_word", .endTurn, .endTurn, .endTurn),
        ]
        for (word, messages, chat, responses) in table {
            #expect(try client(.messages, word) == messages)
            #expect(try client(.chatCompletions, word) == chat)
            #expect(try client(.responses, word) == responses)
        }
    }

    @Test(arguments: 0..<6) func `mutated answers are translated without harm and the same however they are cut`(part: Int) throws {
        for seed in part * 60..<part * 60 + 60 {
            var random = SeededGenerator(seed: UInt64(seed))
            let (client, format) = AnswerMatrixTests.pairs[seed % AnswerMatrixTests.pairs.count]
            let bytes = HostileBytesTests.mutate(Translation.stream(format), &random)
            let translation = try Translation(client, format)
            let whole = translation.streamed([ByteBuffer(bytes: bytes)])
            #expect(translation.streamed(bytes.chunks(&random, longest: 60)).text == whole.text, "seed \(seed)")
            #expect(whole.translator.isFinished)
            var reader = AnswerReader(client, streamed: true)
            try reader.feed(ByteBuffer(string: whole.text))
            // There is an end, of one kind or the other, and nothing unreadable.
            #expect(reader.isComplete != (reader.error != nil) && reader.bytesSinceBoundary == 0, "seed \(seed)")
            if format != .bedrockMessages { #expect(reader.unreadableEvents == 0, "seed \(seed)") }
            if whole.translator.reader.isComplete, reader.isComplete {
                #expect(AnswerEssence(reader).text == AnswerEssence(whole.translator.reader).text, "seed \(seed)")
            }
        }
    }
}
