import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct CutEndTests {
    /// The stream's events, each with its blank line.
    private static func events(_ text: String) -> [String] {
        text.components(separatedBy: "\n\n").dropLast().map { $0 + "\n\n" }
    }

    @Test(arguments: ModelProtocol.allCases)
    func `a stream cut behind any event ends as the protocol ends`(api: ModelProtocol) throws {
        let events = Self.events(Recorded.stream(api))
        for count in 1..<events.count {
            var reader = AnswerReader(api, streamed: true)
            for event in events[..<count] { try reader.feed(ByteBuffer(string: event)) }
            #expect(reader.bytesSinceBoundary == 0)
            let wasComplete = reader.isComplete
            let stop = reader.stopReason
            let blocks = reader.blocks.count
            let end = ErrorShape.cutEnd(reader, reason: "the held budget\nis used up", requestID: "r", includeUsage: true)
            #expect((end.readableBytes == 0) == wasComplete)
            try reader.feed(end)
            #expect(reader.bytesSinceBoundary == 0)
            #expect(reader.isComplete && reader.error == nil && reader.unreadableEvents == 0, "after event \(count)")
            #expect(reader.stopReason == stop ?? .maxTokens)
            // Reasoning that was cut has no encrypted form yet: an item without it could not be sent back, so none is made up.
            let open = reader.builders.filter { !$0.isClosed && !(api == .responses && $0.kind == .thinking) }
            #expect(open.isEmpty || api == .chatCompletions || api == .gemini)
            #expect(reader.blocks.count == blocks)
            #expect((reader.usage?.output ?? 0) * 4 >= reader.generatedBytes)
            if api == .chatCompletions || api == .gemini { #expect(reader.finishedChoices == reader.choices) }
            // A call whose input was cut must not look like one that may run.
            for case .toolUse(_, _, let input, true) in reader.blocks { #expect(JSONCursor.isObject(input)) }
            #expect(ErrorShape.cutEnd(reader, reason: "again", requestID: "r").readableBytes == 0)
        }
    }

    @Test func `the end of a cut message is word for word what an SDK expects`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        let begin = Self.events(Recorded.messagesStream).prefix(4).joined()
        try reader.feed(ByteBuffer(string: begin))
        #expect(
            String(buffer: ErrorShape.cutEnd(reader, reason: "budget used up", requestID: "r")) == """
                : cut by slipway: budget used up

                event: content_block_stop
                data: {"type":"content_block_stop","index":0}

                event: message_delta
                data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":6}}

                event: message_stop
                data: {"type":"message_stop"}


                """)
    }

    @Test func `the end of a cut chat completion has every answer's finish, the usage if asked, and DONE`() throws {
        var reader = AnswerReader(.chatCompletions, streamed: true)
        for index in [1, 0] {
            try reader.feed(
                ByteBuffer(
                    string:
                        #"data: {"id":"c","created":7,"model":"m","choices":[{"index":\#(index),"delta":{"content":"12345678"}}]}"#
                        + "\n\n"))
        }
        func finish(_ index: Int) -> String {
            #"data: {"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":\#(index),"delta":{},"finish_reason":"length"}]}"#
                + "\n\n"
        }
        let usage =
            #"data: {"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{"prompt_tokens":0,"completion_tokens":8,"total_tokens":8}}"#
            + "\n\n"
        let comment = ": cut by slipway: x\n\n"
        let done = "data: [DONE]\n\n"
        let generated = reader.estimatedOutput
        #expect(generated >= 4)
        #expect(String(buffer: ErrorShape.cutEnd(reader, reason: "x", requestID: "r")) == comment + finish(0) + finish(1) + done)
        let expected =
            comment + finish(0) + finish(1)
            + usage.replacing(
                "\"completion_tokens\":8,\"total_tokens\":8",
                with: "\"completion_tokens\":\(generated),\"total_tokens\":\(generated)") + done
        #expect(String(buffer: ErrorShape.cutEnd(reader, reason: "x", requestID: "r", includeUsage: true)) == expected)
    }

    @Test func `before the stream has begun the end is an error`() throws {
        for api in ModelProtocol.allCases {
            var reader = AnswerReader(api, streamed: true)
            try reader.feed(ErrorShape.cutEnd(AnswerReader(api, streamed: true), reason: "no money", requestID: "r"))
            #expect(reader.error?.message == "no money" && !reader.isComplete)
        }
    }

    @Test(arguments: ModelProtocol.allCases)
    func `an error in mid-stream reads as an error`(api: ModelProtocol) throws {
        var reader = AnswerReader(api, streamed: true)
        let error = ErrorShape.streamError(api, status: 503, message: "Say \"why\"\nand what to do", requestID: "req_1")
        try reader.feed(error)
        reader.finish()
        let type = [
            ModelProtocol.messages: "api_error", .chatCompletions: "server_error", .responses: "error", .gemini: "UNAVAILABLE",
        ][api]
        #expect(reader.error?.message == "Say \"why\"\nand what to do" && reader.error?.type == type)
        #expect(!reader.isComplete && reader.bytesSinceBoundary == 0)
    }

    @Test func `an error body has the shape and the kind of its protocol`() {
        let messages = ErrorShape.body(
            .messages, status: 429, message: "no", requestID: "req_1", retryAfter: .milliseconds(1500), shouldRetry: false)
        #expect(messages.status == 429)
        #expect(
            String(buffer: messages.body)
                == #"{"type":"error","error":{"type":"rate_limit_error","message":"no"},"request_id":"req_1"}"#)
        #expect(
            messages.headers.map { "\($0.name): \($0.value)" } == [
                "content-type: application/json", "request-id: req_1", "retry-after: 2", "x-should-retry: false",
            ])
        let chat = ErrorShape.body(.chatCompletions, status: 400, message: "a \"b\"", requestID: "r")
        #expect(
            String(buffer: chat.body) == #"{"error":{"message":"a \"b\"","type":"invalid_request_error","param":null,"code":null}}"#
        )
        let types = [
            400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
            404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "api_error",
            504: "timeout_error", 529: "overloaded_error",
        ]
        for (status, type) in types { #expect(ErrorShape.usualType(.messages, status) == type) }
    }

    @Test func `usage of an answer that was cut is estimated from what came`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        #expect(reader.estimatedUsage(requestBytes: 401) == Usage(input: 101))
        for event in Self.events(Recorded.messagesStream).prefix(4) { try reader.feed(ByteBuffer(string: event)) }
        let estimate = reader.estimatedUsage(requestBytes: 400)
        #expect(estimate.input == 2095 && estimate.cacheWrite1h == 1000 && estimate.output == 6)
        try reader.feed(ByteBuffer(string: Self.events(Recorded.messagesStream).dropFirst(4).joined()))
        #expect(reader.estimatedUsage(requestBytes: 400) == reader.usage)
    }
}
