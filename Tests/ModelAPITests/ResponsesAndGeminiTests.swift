import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct ResponsesTests {
    static let blocks: [AnswerBlock] = [
        .thinking(text: "**Look**\n\nthen act", signature: Recorded.reasoningItem),
        .other(json: #"{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}}"#),
        .text("Hi 😀 über"), .toolUse(id: "call_x", name: "read_file", inputJSON: #"{"path":"a"}"#, isComplete: true),
    ]

    @Test func `a stream and a plain answer say the same`() throws {
        let streamed = try Reading(.responses, Recorded.responsesStream)
        let plain = try Reading(.responses, streamed: false, Recorded.responsesPlain)
        for reading in [streamed, plain] {
            #expect(reading.blocks == Self.blocks)
            #expect(reading.usage == Usage(input: 200, cacheRead: 128, output: 52, reasoning: 40, webSearches: 1))
            #expect(reading.stopReason == .toolUse && reading.isComplete && reading.usageIsFinal && reading.error == nil)
            #expect(reading.id == "resp_7" && reading.model == "gpt-5-mini")
        }
        #expect(
            streamed.deltas == [
                .thinking("**Lo"), .thinking("ok**"), .thinking("then act"), .text("Hi 😀"),
                .toolUse(index: 3, id: "call_x", name: "read_file"), .toolInput(index: 3, json: #"{"path":"#), .text(" über"),
                .toolInput(index: 3, json: #""a"}"#),
            ])
    }

    @Test func `incomplete, failed and error events end as they say, and usage in them counts`() throws {
        func end(_ response: String) throws -> Reading {
            try Reading(.responses, "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\ndata: \(response)\n\n")
        }
        let cut = try end(
            #"{"type":"response.incomplete","response":{"id":"r","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[],"usage":{"input_tokens":5,"output_tokens":7}}}"#
        )
        #expect(cut.isComplete && cut.stopReason == .maxTokens && cut.usage == Usage(input: 5, output: 7) && cut.usageIsFinal)
        let failed = try end(
            #"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"},"usage":{"input_tokens":5,"output_tokens":0}}}"#
        )
        #expect(!failed.isComplete && failed.error == UpstreamError(type: "error", message: "slow", code: "rate_limit_exceeded"))
        #expect(failed.usage == Usage(input: 5))
        let error = try end(#"{"type":"error","code":"server_error","message":"gone","param":null,"sequence_number":3}"#)
        #expect(!error.isComplete && error.error?.message == "gone" && error.error?.code == "server_error")
    }

    @Test func `a request is read by items`() throws {
        let summary = try RequestSummary.read(
            ByteBuffer(
                string: #"""
                    {"model":"gpt-5","stream":true,"max_output_tokens":900,"instructions":"x","prompt_cache_key":"k","store":false,"previous_response_id":null,
                     "tools":[{"type":"function","name":"a"},{"type":"custom","name":"apply_patch"},{"type":"local_shell"}],
                     "input":[{"role":"user","content":[{"type":"input_text","text":"one"},{"type":"input_image","image_url":"data:image/png;base64,AA"}]},
                      {"type":"reasoning","id":"rs","summary":[],"encrypted_content":"zz"},{"type":"function_call","call_id":"c1","name":"a","arguments":"{}"},
                      {"type":"function_call_output","call_id":"c0","output":"old"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"t"}]},
                      {"type":"function_call_output","call_id":"c1","output":"r1"},{"type":"custom_tool_call_output","call_id":"c2","output":[{"type":"input_text","text":"r2"}]}]}
                    """#), as: .responses)
        #expect(summary.model == "gpt-5" && summary.stream && summary.maxOutputTokens == 900 && summary.images == 1)
        #expect(!summary.refersToStoredInput && summary.hasTools && !summary.isBackground && summary.lastUserText == nil)
        #expect(summary.toolResults == [.init(id: "c1", text: "r1", isError: false), .init(id: "c2", text: "r2", isError: false)])
        #expect(summary.messageRanges.count == 7)
        let text = try RequestSummary.read(ByteBuffer(string: #"{"model":"m","input":"hi","background":true}"#), as: .responses)
        #expect(text.lastUserText == "hi" && text.isBackground)
        let parts =
            #"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}]}"#
        #expect(try RequestSummary.read(ByteBuffer(string: parts), as: .responses).lastUserText == "a\nb")
    }

    @Test(arguments: [
        #""previous_response_id":"resp_1""#, #""conversation":{"id":"c"}"#, #""prompt":{"id":"p"}"#,
        #""tools":[{"type":"web_search"}]"#,
        #""tools":[{"type":"mcp"}]"#, #""input":[{"type":"item_reference","id":"i"}]"#,
        #""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#,
        #""input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]"#,
        #""input":[{"role":"user","content":[{"type":"input_image","image_url":"https://x/y.png"}]}]"#,
    ])
    func `input that is stored elsewhere is noticed`(fields: String) throws {
        #expect(try RequestSummary.read(ByteBuffer(string: "{\"model\":\"m\",\(fields)}"), as: .responses).refersToStoredInput)
    }

    @Test func `an answer goes back with its reasoning item byte for byte`() throws {
        var reader = AnswerReader(.responses, streamed: true)
        try reader.feed(ByteBuffer(string: Recorded.responsesStream))
        let conversation = Conversation(
            model: "gpt-5-mini", system: "S", tools: [try ToolSchema(name: "t", description: "d", inputSchema: "{}")],
            messages: [
                .user("q"), .assistant(reader.blocks),
                Message(role: .user, content: [.toolResult(id: "call_x", text: "r", isError: false)]),
            ], maxOutputTokens: 9, sessionID: "s")
        let body = String(buffer: conversation.encode(as: .responses, stream: true))
        let begin =
            #"{"model":"gpt-5-mini","max_output_tokens":9,"stream":true,"store":false,"include":["reasoning.encrypted_content"],"prompt_cache_key":"s","#
            + #""tools":[{"type":"function","name":"t","description":"d","parameters":{},"strict":false}],"instructions":"S","input":["#
        let items = [
            #"{"type":"message","role":"user","content":[{"type":"input_text","text":"q"}]}"#, Recorded.reasoningItem,
            #"{"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"x"}}"#,
            #"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi 😀 über","annotations":[]}]}"#,
            #"{"type":"function_call","call_id":"call_x","name":"read_file","arguments":"{\"path\":\"a\"}"}"#,
            #"{"type":"function_call_output","call_id":"call_x","output":"r"}"#,
        ]
        #expect(body == begin + items.joined(separator: ",") + "]}")
        // Reasoning of one provider is no thinking of another.
        #expect(!String(buffer: conversation.encode(as: .messages, stream: true)).contains("rs_1"))
        #expect(!String(buffer: conversation.encode(as: .gemini, stream: true)).contains("rs_1"))
    }
}

@Suite struct GeminiTests {
    static let blocks: [AnswerBlock] = [
        .thinking(text: "Let me look.", signature: nil), .text("Hi 😀 über"), .thinking(text: "", signature: "Ci4B=="),
        .toolUse(id: "call_slipway_rID_3", name: "read_file", inputJSON: #"{"path": "a"}"#, isComplete: true),
        .toolUse(id: "own", name: "list_files", inputJSON: "{}", isComplete: true),
    ]

    @Test func `a stream, a plain answer and an array of chunks say the same`() throws {
        let chunks = Recorded.geminiStream.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map {
            $0.dropFirst("data: ".count)
        }
        for reading in [
            try Reading(.gemini, Recorded.geminiStream),
            try Reading(.gemini, streamed: false, "[" + chunks.joined(separator: "\n,\r\n") + "]\n"),
            try Reading(.gemini, streamed: false, Recorded.geminiPlain),
        ] {
            #expect(reading.blocks == Self.blocks)
            #expect(reading.usage == Usage(input: 300, cacheRead: 600, output: 101, reasoning: 70))
            #expect(reading.stopReason == .toolUse && reading.isComplete && reading.usageIsFinal && reading.error == nil)
            #expect(reading.id == "rID" && reading.model == "gemini-2.5-pro")
        }
    }

    @Test func `a refused prompt, a limit and an error are what they are`() throws {
        let refused = try Reading(
            .gemini, "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":{\"promptTokenCount\":4}}\n\n")
        #expect(refused.stopReason == .refusal && refused.isComplete && refused.usage == Usage(input: 4))
        let cut = try Reading(.gemini, "data: {\"candidates\":[{\"content\":{},\"finishReason\":\"MAX_TOKENS\"}]}\n\n")
        #expect(cut.stopReason == .maxTokens && cut.isComplete && !cut.usageIsFinal)
        let body = #"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[]}}"#
        let expected = UpstreamError(type: "RESOURCE_EXHAUSTED", message: "Quota", code: "429")
        #expect(UpstreamError.read(ByteBuffer(string: body)) == expected)
        #expect(try Reading(.gemini, "data: \(body)\n\n").error == expected)
        #expect(try Reading(.gemini, streamed: false, body).error == expected)
    }

    @Test func `a request is read in both spellings, its model from the path`() throws {
        for (contents, config, inline) in [
            ("contents", "generationConfig", "inlineData"), ("contents", "generation_config", "inline_data"),
        ] {
            let limit = config == "generationConfig" ? "maxOutputTokens" : "max_output_tokens"
            let type = config == "generationConfig" ? "mimeType" : "mime_type"
            let body = #"""
                {"\#(contents)":[{"role":"user","parts":[{"text":"q"},{"\#(inline)":{"\#(type)":"image/png","data":"AA"}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},
                {"role":"user","parts":[{"functionResponse":{"name":"f","id":"i","response":{"output": 1}}},{"text":"and"}]}],
                "tools":[{"functionDeclarations":[{"name":"f"}]}],"\#(config)":{"\#(limit)":77,"candidateCount":2}}
                """#
            let summary = try RequestSummary.read(
                ByteBuffer(string: body), as: .gemini, path: "v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse")
            #expect(summary.model == "gemini-2.5-pro" && summary.stream && summary.maxOutputTokens == 77 && summary.answers == 2)
            #expect(
                summary.lastUserText == "and" && summary.toolResults == [.init(id: "i", text: #"{"output": 1}"#, isError: false)])
            #expect(summary.images == 1 && !summary.refersToStoredInput && summary.hasTools && summary.messageRanges.count == 3)
        }
        let plain = try RequestSummary.read(ByteBuffer(string: "{}"), as: .gemini, path: "models/g:generateContent")
        #expect(plain.model == "g" && !plain.stream)
        for path in ["", "models/g", "models/:generateContent"] {
            #expect { try RequestSummary.read(ByteBuffer(string: "{}"), as: .gemini, path: path) } throws: {
                ($0 as? AppError)?.field == "model"
            }
        }
        #expect {
            try RequestSummary.read(ByteBuffer(string: #"{"contents":[],"Contents":[]}"#), as: .gemini, path: "g:x")
        } throws: {
            ($0 as? AppError)?.message.contains("twice") == true
        }
    }

    @Test(arguments: [
        #""cachedContent":"c/1""#, #""cached_content":"c/1""#, #""tools":[{"googleSearch":{}}]"#,
        #""tools":[{"codeExecution":{}}]"#,
        #""contents":[{"parts":[{"fileData":{"fileUri":"u"}}]}]"#,
        #""contents":[{"parts":[{"inlineData":{"mimeType":"application/pdf","data":""}}]}]"#,
        #""contents":{"parts":{"file_data":{}}}"#,
    ])
    func `input that is not in the body is noticed`(fields: String) throws {
        #expect(
            try RequestSummary.read(ByteBuffer(string: "{\(fields)}"), as: .gemini, path: "models/g:generateContent")
                .refersToStoredInput)
    }

    @Test func `an answer goes back with each signature on its part`() throws {
        var reader = AnswerReader(.gemini, streamed: true)
        try reader.feed(ByteBuffer(string: Recorded.geminiStream))
        let results: [ContentBlock] = [
            .toolResult(id: "call_slipway_rID_3", text: "r", isError: false), .toolResult(id: "own", text: "e", isError: true),
        ]
        let body = Conversation(
            model: "g", system: "S", tools: [try ToolSchema(name: "t", description: "d", inputSchema: "{}")],
            messages: [.user("q"), .assistant(reader.blocks), Message(role: .user, content: results)], maxOutputTokens: 9
        ).encode(as: .gemini, stream: true)
        #expect(
            String(buffer: body)
                == #"{"systemInstruction":{"parts":[{"text":"S"}]},"tools":[{"functionDeclarations":[{"name":"t","description":"d","parametersJsonSchema":{}}]}],"#
                + #""generationConfig":{"maxOutputTokens":9},"contents":[{"role":"user","parts":[{"text":"q"}]},"#
                + #"{"role":"model","parts":[{"text":"Hi 😀 über"},{"functionCall":{"name":"read_file","args":{"path": "a"}},"thoughtSignature":"Ci4B=="},{"functionCall":{"id":"own","name":"list_files","args":{}}}]},"#
                + #"{"role":"user","parts":[{"functionResponse":{"name":"read_file","response":{"output":"r"}}},{"functionResponse":{"id":"own","name":"list_files","response":{"error":"e"}}}]}]}"#
        )
    }
}
