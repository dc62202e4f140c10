import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct ConversationTests {
    private static let read = try! ToolSchema(
        name: "read_file", description: "Reads a file.",
        inputSchema: """
            { "type": "object",
              "properties": { "path": { "type": "string", "description": "a \\" quoted  name" } },
              "required": [ "path" ] }
            """)
    private static let execute = try! ToolSchema(name: "execute", description: "Runs.", inputSchema: #"{"type":"object"}"#)

    private static func conversation(_ messages: [Message]) -> Conversation {
        Conversation(
            model: "m", system: "You are.", tools: [read, execute], messages: messages, maxOutputTokens: 8000, sessionID: "s")
    }

    /// A task's conversation: question, answer as recorded, results, second answer, a word of the user.
    private static func messages(_ blocks: [AnswerBlock]) -> [Message] {
        let calls = blocks.compactMap { if case .toolUse(let id, _, _, _) = $0 { id } else { nil } }
        return [
            .user("Fix \"it\""), .assistant(blocks),
            Message(role: .user, content: calls.map { .toolResult(id: $0, text: "out\nput", isError: $0 == calls.last) }),
            .assistant([.text("done?")]), .user("no"),
        ]
    }

    private static func object(_ buffer: ByteBuffer) throws -> NSDictionary {
        try #require(JSONSerialization.jsonObject(with: Data(buffer.readableBytesView)) as? NSDictionary)
    }

    @Test func `blocks of an earlier answer go back to Messages as they came`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        try reader.feed(ByteBuffer(string: Recorded.messagesStream))
        let body = Self.conversation(Self.messages(reader.blocks)).encode(as: .messages, stream: true)
        let messages = try #require(try Self.object(body)["messages"] as? [NSDictionary])
        let plain = try #require(JSONSerialization.jsonObject(with: Data(Recorded.messagesPlain.utf8)) as? NSDictionary)
        var content = try #require(plain["content"] as? [[String: Any]])
        content[1]["citations"] = nil
        #expect(messages[1]["content"] as? NSArray == content as NSArray)
        // And what the provider then reads is what it would have read of its own plain answer.
        var again = AnswerReader(.messages, streamed: false)
        try again.feed(ByteBuffer(string: Recorded.messagesPlain))
        again.finish()
        #expect(Self.conversation(Self.messages(again.blocks)).encode(as: .messages, stream: true) == body)
        // The input of a call keeps even its white space.
        #expect(String(buffer: body).contains(#""input":{"path": "a/b.swift"}"#))
        #expect(String(buffer: body).contains(#""signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds==""#))
    }

    @Test func `a stored message decodes to what it was`() throws {
        for recorded in [Recorded.messagesStream] {
            var reader = AnswerReader(.messages, streamed: true)
            try reader.feed(ByteBuffer(string: recorded))
            let messages = Self.messages(reader.blocks + [.redactedThinking(data: "x"), .other(json: #"{"a":1}"#)])
            #expect(try JSONDecoder().decode([Message].self, from: JSONEncoder().encode(messages)) == messages)
        }
    }

    @Test func `a Messages request is what the API documents`() throws {
        var conversation = Self.conversation([.user("hi")])
        conversation.thinkingBudget = 2048
        #expect(
            String(buffer: conversation.encode(as: .messages, stream: true))
                == #"{"model":"m","max_tokens":8000,"stream":true,"metadata":{"user_id":"s"},"thinking":{"type":"enabled","budget_tokens":2048},"#
                + #""tools":[{"name":"execute","description":"Runs.","input_schema":{"type":"object"}},"#
                + #"{"name":"read_file","description":"Reads a file.","input_schema":{"type":"object","properties":{"path":{"type":"string","description":"a \" quoted  name"}},"required":["path"]}}],"#
                + #""system":[{"type":"text","text":"You are.","cache_control":{"type":"ephemeral"}}],"#
                + #""messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}"#)
        conversation.toolChoice = .none
        #expect(String(buffer: conversation.encode(as: .messages, stream: false)).contains(#""tool_choice":{"type":"none"}"#))
    }

    @Test func `a chat completion request is what the API documents`() throws {
        var reader = AnswerReader(.chatCompletions, streamed: true)
        try reader.feed(ByteBuffer(string: Recorded.chatStream))
        let body = Self.conversation(Self.messages(reader.blocks)).encode(as: .chatCompletions, stream: true)
        #expect(
            String(buffer: body)
                == #"{"model":"m","max_tokens":8000,"stream":true,"stream_options":{"include_usage":true},"#
                + #""tools":[{"type":"function","function":{"name":"execute","description":"Runs.","parameters":{"type":"object"}}},"#
                + #"{"type":"function","function":{"name":"read_file","description":"Reads a file.","parameters":{"type":"object","properties":{"path":{"type":"string","description":"a \" quoted  name"}},"required":["path"]}}}],"#
                + #""messages":[{"role":"system","content":"You are."},{"role":"user","content":"Fix \"it\""},"#
                + #"{"role":"assistant","content":"Okay, 😀 über","reasoning_content":"hmm","tool_calls":[{"id":"call_a","type":"function","function":{"name":"read_file","arguments":"{\"path\":\"x\"}"}},"#
                + #"{"id":"call_b","type":"function","function":{"name":"list_files","arguments":"{}"}}]},"#
                + #"{"role":"tool","tool_call_id":"call_a","content":"out\nput"},{"role":"tool","tool_call_id":"call_b","content":"out\nput"},"#
                + #"{"role":"assistant","content":"done?"},{"role":"user","content":"no"}]}"#)
        #expect(Conversation.namesCompletionTokens("gpt-5-mini") && Conversation.namesCompletionTokens("openai/o3"))
        #expect(!Conversation.namesCompletionTokens("gpt-4o") && !Conversation.namesCompletionTokens("deepseek-chat"))
    }

    @Test func `what is sent is read back by the gateway`() throws {
        for api in ModelProtocol.allCases {
            let results = [
                Message.user("a"), .assistant([.toolUse(id: "t", name: "execute", inputJSON: "{}", isComplete: true)]),
                Message(role: .user, content: [.toolResult(id: "t", text: "r", isError: true)]),
            ]
            let path = "models/m:streamGenerateContent"
            let summary = try RequestSummary.read(Self.conversation(results).encode(as: api, stream: true), as: api, path: path)
            #expect(summary.model == "m" && summary.stream && summary.maxOutputTokens == 8000 && !summary.refersToStoredInput)
            #expect(
                summary.toolResults == [.init(id: "t", text: api == .gemini ? #"{"error":"r"}"# : "r", isError: api == .messages)])
            let asked = try RequestSummary.read(
                Self.conversation([.user("why?")]).encode(as: api, stream: false), as: api, path: "models/m:generateContent")
            #expect(asked.lastUserText == "why?" && !asked.stream)
        }
    }

    @Test func `a longer conversation begins with the bytes of the shorter one`() throws {
        var reader = AnswerReader(.messages, streamed: true)
        try reader.feed(ByteBuffer(string: Recorded.messagesStream))
        let all = Self.messages(reader.blocks)
        for api in ModelProtocol.allCases {
            var before = ""
            for count in 1...all.count {
                let text = String(buffer: Self.conversation(Array(all[..<count])).encode(as: api, stream: true))
                    .replacing(#","cache_control":{"type":"ephemeral"}"#, with: "")
                #expect(text.hasSuffix("]}") && text.hasPrefix(before))
                before = String(text.dropLast(2))
            }
        }
    }

    @Test func `the order in which tools are given does not show`() throws {
        var a = Self.conversation([.user("x")])
        let b = a
        a.tools.reverse()
        for api in ModelProtocol.allCases { #expect(a.encode(as: api, stream: true) == b.encode(as: api, stream: true)) }
    }

    @Test func `cache marks stand behind the system prompt and at the user's last two messages`() throws {
        let messages: [Message] =
            (0..<6).flatMap { [.user("q\($0)"), .assistant([.text("a\($0)")])] } + [
                .user("a"), Message(role: .user, content: [.text(" ")]),
            ]
        let body = String(buffer: Self.conversation(messages).encode(as: .messages, stream: true))
        let mark = #","cache_control":{"type":"ephemeral"}"#
        #expect(body.components(separatedBy: mark).count == 4)
        for text in ["You are.", "q5", "a"] { #expect(body.contains("\"text\":\"\(text)\"" + mark)) }
    }

    @Test func `what providers refuse is not sent`() throws {
        let messages: [Message] = [
            .user("go"), .assistant([.text(""), .thinking(text: "from elsewhere", signature: nil)]),
            Message(role: .user, content: [.text(" \n")]), .assistant([]),
            Message(role: .user, content: [.toolResult(id: "t", text: "", isError: false)]),
        ]
        let sent = try #require(
            try Self.object(Self.conversation(messages).encode(as: .messages, stream: true))["messages"] as? [NSDictionary])
        #expect(sent.count == 2 && String(describing: sent).contains("elsewhere") == false)
        let chat = try #require(
            try Self.object(Self.conversation(messages).encode(as: .chatCompletions, stream: true))["messages"] as? [NSDictionary])
        #expect(chat.map { $0["role"] as? String } == ["system", "user", "tool"])
    }

    @Test func `a cut input goes back as the text it is`() throws {
        let cut = AnswerBlock.toolUse(id: "t", name: "write_file", inputJSON: #"{"path":"a","content":"abc"#, isComplete: false)
        for api in ModelProtocol.allCases {
            let body = Self.conversation([.user("a"), .assistant([cut])]).encode(as: api, stream: true)
            _ = try Self.object(body)
            #expect(String(buffer: body).contains("unparsed_input") && String(buffer: body).contains("abc"))
        }
    }

    @Test func `a schema that is no object is refused by the tool's name`() {
        for schema in ["", "[]", "{", #"{"a":1,}"#] {
            #expect { try ToolSchema(name: "x", description: "", inputSchema: schema) } throws: {
                ($0 as? AppError)?.message.contains("'x'") == true
            }
        }
    }
}
