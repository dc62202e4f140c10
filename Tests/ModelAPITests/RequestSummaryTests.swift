import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct RequestSummaryTests {
    private static func read(_ text: String, as api: ModelProtocol = .messages) throws -> RequestSummary {
        try RequestSummary.read(ByteBuffer(string: text), as: api)
    }

    private static func refusal(_ text: String, as api: ModelProtocol = .messages) -> AppError? {
        do {
            _ = try read(text, as: api)
            return nil
        } catch {
            return error as? AppError
        }
    }

    @Test func `a request of Claude Code gives what the gateway needs`() throws {
        let summary = try Self.read(
            #"""
            {"model":"claude-sonnet-4-5","max_tokens":32000,"stream":true,
             "system":[{"type":"text","text":"You are","cache_control":{"type":"ephemeral"}}],
             "tools":[{"name":"Bash","input_schema":{"type":"object"},"defer_loading":true},{"type":"bash_20250124","name":"bash"}],
             "metadata":{"user_id":"user_ab_account_1_session_5f"},
             "messages":[
              {"role":"user","content":"fix it"},
              {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"t1","name":"Bash","input":{"type":"document"}}]},
              {"role":"user","content":[
                {"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"b"}]},
                {"type":"tool_result","tool_use_id":"t2","is_error":true,"content":"no\n"},
                {"type":"text","text":"reminder"},{"type":"text","text":"go \u00fcn"}]}]}
            """#)
        #expect(summary.model == "claude-sonnet-4-5" && summary.stream && summary.maxOutputTokens == 32000)
        #expect(summary.lastUserText == "go ün")
        #expect(
            summary.toolResults == [.init(id: "t1", text: "a\nb", isError: false), .init(id: "t2", text: "no\n", isError: true)])
        #expect(summary.lastToolResultIDs == ["t1", "t2"])
        #expect(summary.metadataUserID == "user_ab_account_1_session_5f")
        #expect(summary.images == 1 && !summary.refersToStoredInput && summary.hasTools)
        #expect(summary.inputTokenBound(bodyBytes: 1000) == 10_096)
        #expect(summary.messageRanges.count == 3)
    }

    @Test func `a chat completion gives what the gateway needs`() throws {
        let summary = try Self.read(
            #"""
            {"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"two"}]}],
            "model":"gpt-5","max_tokens":5,"max_completion_tokens":9,"n":3,"stream":true,"stream_options":{"include_usage":true},"tools":[{"type":"function","function":{"name":"f"}}]}
            """#, as: .chatCompletions)
        #expect(summary.model == "gpt-5" && summary.maxOutputTokens == 9 && summary.answers == 3 && summary.includeUsage == true)
        #expect(
            summary.toolResults == [.init(id: "c1", text: "one", isError: false), .init(id: "c2", text: "two", isError: false)])
        #expect(summary.lastUserText == nil && summary.images == 1 && !summary.refersToStoredInput)
        let simple = try Self.read(
            #"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":null}"#, as: .chatCompletions)
        #expect(simple.lastUserText == "hi" && !simple.stream && simple.maxOutputTokens == nil && simple.includeUsage == nil)
    }

    @Test func `only the user's newest message is the prompt`() throws {
        let assistant = #"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"pre"}]}"#
        #expect(try Self.read(assistant).lastUserText == nil)
        #expect(try Self.read(assistant, as: .chatCompletions).lastUserText == nil)
        #expect(try Self.read(#"{"model":"m","messages":[]}"#).lastUserText == nil)
        #expect(try Self.read(#"{"model":"m"}"#).lastUserText == nil)
    }

    @Test func `the ranges of the messages are the messages`() throws {
        let messages = [
            #"{"role":"user","content":"a, ]}"}"#, #"{ "role" : "assistant", "content":[ ] }"#, #"{"role":"user","content":"\"é"}"#,
        ]
        let body = #"{"model":"m","messages": [ "# + messages.joined(separator: " ,\n ") + " ] }"
        let summary = try Self.read(body)
        #expect(summary.messageRanges.map { String(decoding: Array(body.utf8)[$0], as: UTF8.self) } == messages)
    }

    @Test(arguments: [
        #""messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"JVBE"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x/y.png"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","url":"https://x/y.png"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"hologram"}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","type":"text","source":{"type":"url","url":"https://x"},"text":"a"}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"},"source":{"type":"base64"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image"}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","type":"file","file_id":"f"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","type":"url","url":"u"}}]}]"#,
        #""messages":[{"role":"assistant","audio":{"id":"a"}}]"#,
        #""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
        #""tools":[{"type":"code_execution_20250825","name":"c"}]"#,
        #""mcp_servers":[{"url":"https://x"}]"#, #""container":"c_1""#, #""web_search_options":{"a":1}"#,
    ])
    func `input that is not in the body is noticed`(fields: String) throws {
        for api in [ModelProtocol.messages, .chatCompletions] {
            let summary = try Self.read("{\"model\":\"m\",\(fields)}", as: api)
            #expect(summary.refersToStoredInput && summary.inputTokenBound(bodyBytes: 100) == nil)
        }
    }

    @Test(arguments: [
        #""messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","data":"plain"}}]}]"#,
        #""messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AA"}}]}]"#,
        #""tools":[{"name":"a"},{"type":"custom","name":"b"}]"#, #""tools":[]"#, #""mcp_servers":[]"#, #""container":null"#,
        #""tools":null"#,
    ])
    func `input that is in the body is bounded by its size`(fields: String) throws {
        #expect(try !Self.read("{\"model\":\"m\",\(fields)}").refersToStoredInput)
    }

    // MARK: Refusals

    @Test(arguments: [
        ("", nil, "empty"), ("  ", nil, "empty"), ("[]", nil, "must begin with '{'"),
        ("{\"model\":\"m\"", nil, "byte 12: expected ',' or '}'"),
        ("{\"model\":\"m\"}}", nil, "byte 13: expected the end of the text"), ("{}", "model", "names no model"),
        ("{\"model\":5}", "model", "must be a string"),
        ("{\"model\":null}", "model", "must be a string"), ("{\"model\":\"\"}", "model", "1 to 256 bytes"),
        ("{\"model\":\"m\",\"stream\":\"yes\"}", "stream", "must be true or false"),
        ("{\"model\":\"m\",\"max_tokens\":-1}", "max_tokens", "whole number"),
        ("{\"model\":\"m\",\"max_tokens\":1.5}", "max_tokens", "whole number"),
        ("{\"model\":\"m\",\"max_tokens\":\"9\"}", "max_tokens", "whole number"),
        ("{\"model\":\"m\",\"max_tokens\":1e30}", "max_tokens", "whole number"),
        ("{\"model\":\"m\",\"messages\":{}}", "messages", "must be an array"),
        ("{\"model\":\"m\",\"messages\":[{},7]}", "messages[1]", "must be an object"),
        ("{\"model\":\"m\",\"stream_options\":{\"include_usage\":1}}", "stream_options.include_usage", "must be true or false"),
    ])
    func `what cannot be read is refused with the field's name and what is expected`(text: String, field: String?, words: String) {
        let error = Self.refusal(text)
        #expect(error?.code == .badRequest)
        #expect(error?.field == field)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "not refused")")
    }

    @Test func `a field that decides something cannot be given twice or in disguise`() {
        for field in ["model", "stream", "max_tokens", "n", "messages", "tools", "stream_options"] {
            let value =
                field == "model"
                ? "\"m\""
                : field == "stream"
                    ? "true"
                    : field.hasPrefix("m") && field != "messages" || field == "n" ? "1" : field == "stream_options" ? "{}" : "[]"
            let escaped = "\\u00" + String(field.utf8.first!, radix: 16) + field.dropFirst()
            let model = field == "model" ? "" : "\"model\":\"m\","
            #expect(Self.refusal("{\(model)\"\(field)\":\(value)}") == nil)
            #expect(Self.refusal("{\(model)\"\(field)\":\(value),\"\(field)\":\(value)}")?.message.contains("twice") == true)
            #expect(Self.refusal("{\(model)\"\(field)\":\(value),\"\(escaped)\":\(value)}")?.message.contains("twice") == true)
            #expect(
                Self.refusal("{\(model)\"\(field)\":\(value),\"\(field.uppercased())\":\(value)}")?.message.contains(
                    "is spelled \"\(field)\"") == true)
        }
    }

    @Test func `a body cut anywhere is refused, never misread`() {
        let body = Array(
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"max_tokens":5,"tools":[{"name":"x"}]}"#
                .utf8)
        for place in 0..<body.count {
            #expect(Self.refusal(String(decoding: body[..<place], as: UTF8.self))?.code == .badRequest, "cut at \(place)")
        }
    }

    @Test func `a buffer that was read from is read from where it stands`() throws {
        var buffer = ByteBuffer(string: #"xxx{"model":"m","messages":[{"role":"user","content":"hi"}]}"#)
        buffer.moveReaderIndex(forwardBy: 3)
        #expect(try RequestSummary.read(buffer, as: .messages).lastUserText == "hi")
    }
}
