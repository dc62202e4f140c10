import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct InjectedAnswerTests {
    private static let tools = InjectedTools(
        [("wiki", MCPTool(#"{"name":"read.page","description":"Reads.","inputSchema":{ "type": "object" }}"#)!)], taken: [])

    private static func request(_ api: ModelProtocol, _ text: String) throws -> InjectedRequest {
        try #require(InjectedRequest(ByteBuffer(string: text), api))
    }

    @Test func `names are ones that models take, the client's own win, and the order is always the same`() {
        let listed = ["b", "a", String(repeating: "x", count: 100), "ü"].compactMap {
            MCPTool(#"{"name":"\#($0)","inputSchema":[]}"#).map { (server: "s", tool: $0) }
        }
        let tools = InjectedTools(listed, taken: ["s__b"])
        #expect(tools.all.map(\.tool) == ["a", String(repeating: "x", count: 100)] && tools.leftOut == 1)
        #expect(tools.all.allSatisfy { $0.name.wholeMatch(of: /[a-zA-Z0-9_-]{1,64}/) != nil && $0.schema == #"{"type":"object"}"# })
        #expect(InjectedTools(listed.reversed(), taken: ["s__b"]) == tools)
        #expect(Self.tools.all[0].name.hasPrefix("wiki__read_page"))
        let many = InjectedTools(
            (0..<100).map { ("s", MCPTool(#"{"name":"t\#($0)"}"#)!) }, taken: [])
        #expect(many.all.count == InjectedTools.most && many.leftOut == 36)
    }

    @Test func `a tool that is too long leaves the room to those behind it, and a server that has none put in is named`() {
        let long = String(repeating: "x", count: InjectedTools.mostBytes)
        let tools = InjectedTools(
            [
                ("a", MCPTool(#"{"name":"long","description":"\#(long)"}"#)!), ("b", MCPTool(#"{"name":"short"}"#)!),
                ("b", MCPTool(#"{"name":"taken"}"#)!),
            ], taken: ["b__taken"])
        #expect(tools.all.map(\.server) == ["b"] && tools.leftOut == 2 && tools.shutOut == ["a"])
    }

    @Test func `a conversation that the provider keeps gets nothing`() throws {
        for (value, isKept) in [(#""conv_1""#, true), (#"{"id":"conv_1"}"#, true), ("null", false)] {
            #expect(try Self.request(.responses, #"{"input":[],"conversation":\#(value)}"#).isOfConversation == isKept)
            #expect(try !Self.request(.messages, #"{"messages":[],"conversation":\#(value)}"#).isOfConversation)
        }
        #expect(try !Self.request(.responses, #"{"input":[]}"#).isOfConversation)
    }

    // MARK: Turns

    /// A conversation that ends with the turn `Done.`, and `Go on.` behind it.
    private static func turns(_ api: ModelProtocol, _ first: String, call id: String, result: String, mark: String = "") -> [String]
    {
        let user =
            #"{"role":"user","content":[{"type":"\#(api == .responses ? "input_text" : "text")","text":"\#(first)"\#(mark)}]}"#
        let goOn = #"{"role":"user","content":"Go on."}"#
        switch api {
        case .messages, .gemini:
            return [
                user, #"{"role":"assistant","content":[{"type":"tool_use","id":"\#(id)","name":"mine","input":{}}]}"#,
                #"{"role":"user","content":[{"type":"tool_result","tool_use_id":"\#(id)","content":[{"type":"text","text":"\#(result)"}]\#(mark)}]}"#,
                #"{"role":"assistant","content":"Done."}"#, goOn,
            ]
        case .chatCompletions:
            return [
                user,
                #"{"role":"assistant","tool_calls":[{"id":"\#(id)","type":"function","function":{"name":"mine","arguments":"{}"}}]}"#,
                #"{"role":"tool","tool_call_id":"\#(id)","content":"\#(result)"}"#, #"{"role":"assistant","content":"Done."}"#,
                goOn,
            ]
        case .responses:
            return [
                user, #"{"type":"function_call","call_id":"\#(id)","name":"mine","arguments":"{}"}"#,
                #"{"type":"function_call_output","call_id":"\#(id)","output":"\#(result)"}"#,
                #"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Done."}]}"#, goOn,
            ]
        }
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions, .responses])
    func `a kept turn is put back into its own conversation alone`(api: ModelProtocol) throws {
        func request(_ turns: [String]) throws -> InjectedRequest {
            try Self.request(api, #"{"\#(api == .responses ? "input" : "messages")":[\#(turns.joined(separator: ","))]}"#)
        }
        let turns = Self.turns(api, "hi", call: "mine:0", result: "1")
        let called = try #require(TurnKey.key(calls: ["mine:0"], text: "", in: try request(Array(turns[..<1])).conversation))
        let said = try #require(TurnKey.key(calls: [], text: "Done.\n", in: try request(Array(turns[..<3])).conversation))
        #expect(try request(turns).turnKeys == [called, said])
        // A mark of the prompt cache moves on, and changes nothing.
        let marked = Self.turns(api, "hi", call: "mine:0", result: "1", mark: #","cache_control":{"type":"ephemeral"}"#)
        #expect(try request(marked).turnKeys == [called, said])
        for other in [
            Self.turns(api, "hello", call: "mine:0", result: "1"), Self.turns(api, "hi", call: "mine:0", result: "2"),
            Self.turns(api, "hi", call: "mine:1", result: "1"),
        ] {
            #expect(try !request(other).turnKeys.contains(said))
        }
        #expect(try !request(Self.turns(api, "hello", call: "mine:0", result: "1")).turnKeys.contains(called))
        var hidden = HiddenTurn()
        hidden.elements = [#"{"role":"assistant","content":"hidden"}"#]
        var own = try request(turns)
        own.restore([said: hidden], upTo: 200)
        #expect(own.turns == turns)
        own.restore([said: hidden], upTo: 10_000)
        var others = try request(Self.turns(api, "hello", call: "mine:0", result: "1"))
        others.restore([said: hidden, called: hidden], upTo: 10_000)
        #expect(own.turns?[3].contains("hidden") == true && others.turns?.contains { $0.contains("hidden") } == false)
    }

    @Test func `what is put into a request leaves every other value as it was written`() throws {
        var request = try Self.request(
            .messages,
            #"{ "x" : [1.0, {"é":"\u00e9"}], "messages": [ {"role":"user","content":"hi"} ], "tools" : [ {"name":"mine"} ]}"#)
        request.add(Self.tools)
        request.append([#"{"role":"assistant","content":[]}"#])
        let text = String(buffer: request.body)
        #expect(text.contains(#""x":[1.0, {"é":"\u00e9"}]"#) && text.contains(#" {"name":"mine"} ]"#), "\(text)")
        #expect(text.contains(#"{"role":"user","content":"hi"},{"role":"assistant","content":[]}]"#), "\(text)")
        #expect(text.contains(#""input_schema":{"type":"object"}}, {"name":"mine"}"#), "\(text)")
        var responses = try Self.request(.responses, #"{"input":"say \"hi\"","tools":null}"#)
        responses.add(Self.tools)
        responses.append(["{}"])
        #expect(
            String(buffer: responses.body).contains(#"[{"type":"message","role":"user","content":"say \"hi\""},{}]"#))
    }

    @Test(arguments: [
        "[]", "{", #"{"messages":1}"#, #"{"messages":[],"messages":[]}"#, #"{"messages":[],"tools":{}}"#, "", #"{"messages":"x"}"#,
    ]) func `a body that cannot be read as one request is left alone`(body: String) {
        #expect(InjectedRequest(ByteBuffer(string: body), .messages) == nil)
    }

    // MARK: Streams

    private static func name() -> String { tools.all[0].name }

    private static func rounds(_ api: ModelProtocol) -> [String] {
        switch api {
        case .messages, .gemini:
            [
                """
                event: message_start
                data: {"type":"message_start","message":{"id":"a","usage":{"input_tokens":5,"cache_creation":{"x":1},"tier":"s"}}}

                event: content_block_start
                data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

                event: content_block_delta
                data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"}}

                event: content_block_stop
                data: {"type":"content_block_stop","index":0}

                event: content_block_start
                data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"\(name())","input":{}}}

                event: content_block_delta
                data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}

                event: content_block_stop
                data: {"type":"content_block_stop","index":1}

                event: message_delta
                data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":3}}

                event: message_stop
                data: {"type":"message_stop"}


                """,
                """
                event: message_start
                data: {"type":"message_start","message":{"id":"b","usage":{"input_tokens":7,"cache_creation":{"x":2}}}}

                event: content_block_start
                data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

                event: content_block_delta
                data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" end"}}

                event: content_block_stop
                data: {"type":"content_block_stop","index":0}

                event: message_delta
                data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}

                event: message_stop
                data: {"type":"message_stop"}


                """,
            ]
        case .chatCompletions:
            [
                """
                data: {"id":"a","created":1,"choices":[{"index":0,"delta":{"role":"assistant","content":"Hé"},"finish_reason":null}]}

                data: {"id":"a","created":1,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"\(name())","arguments":"{}"}}]},"finish_reason":null}]}

                data: {"id":"a","created":1,"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":5,"completion_tokens":3}}

                data: [DONE]


                """,
                """
                data: {"id":"b","created":2,"choices":[{"index":0,"delta":{"role":"assistant","content":" end"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":4}}

                data: [DONE]


                """,
            ]
        case .responses: []
        }
    }

    private static func run(_ api: ModelProtocol, step: Int) throws -> String {
        let body = api == .messages || api == .chatCompletions ? #"{"messages":[]}"# : #"{"input":[]}"#
        var answer = InjectedAnswer(try request(api, body), tools, streamed: true)
        var output = ByteBuffer()
        for round in rounds(api) {
            answer.begin()
            let bytes = Array(round.utf8)
            for start in stride(from: 0, to: bytes.count, by: step) {
                output.writeImmutableBuffer(try answer.take(ByteBuffer(bytes: bytes[start..<min(start + step, bytes.count)])))
            }
            _ = answer.endRound()
        }
        output.writeImmutableBuffer(answer.close())
        return String(buffer: output)
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions, .responses])
    func `a comment passes at once, and an event behind it as any other`(api: ModelProtocol) throws {
        var answer = InjectedAnswer(try Self.request(api, #"{"messages":[],"input":[]}"#), Self.tools, streamed: true)
        answer.begin()
        for comment in [":\n\n", ": keep-alive\n\n", ": a\n\n: b\r\n\n\n"] {
            #expect(String(buffer: try answer.take(ByteBuffer(string: comment))) == comment)
        }
        let shown = String(buffer: try answer.take(ByteBuffer(string: ": keep-alive\n\ndata: [DONE]\n\n")))
        #expect(!shown.contains("[DONE]"), "\(shown)")
        _ = answer.endRound()
    }

    @Test func `a later round that fails shows nothing that is hidden, and what the client has`() throws {
        var answer = InjectedAnswer(
            try Self.request(.responses, #"{"input":[],"tools":[{"name":"mine"}]}"#), Self.tools, streamed: true)
        let name = Self.name()
        let call = #"{"type":"function_call","call_id":"t","name":"\#(name)","arguments":"{}"}"#
        let shown = #"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hm."}]}"#
        func event(_ type: String, _ id: String, _ output: String) -> ByteBuffer {
            ByteBuffer(
                string:
                    "data: {\"type\":\"\(type)\",\"response\":{\"id\":\"\(id)\",\"tools\":[{\"name\":\"\(name)\"}],\"output\":[\(output)],\"usage\":{\"input_tokens\":2}}}\n\n"
            )
        }
        answer.begin()
        _ = try answer.take(event("response.created", "resp_1", ""))
        _ = try answer.take(event("response.completed", "resp_1", "\(shown),\(call)"))
        #expect(answer.endRound().calls.map(\.id) == ["t"])
        answer.begin()
        _ = try answer.take(event("response.created", "resp_2", ""))
        let text = String(buffer: try answer.take(event("response.failed", "resp_2", call)))
        _ = answer.endRound()
        #expect(!text.contains(name) && !text.contains("resp_2"), "\(text)")
        #expect(
            text.contains(#""id":"resp_1""#) && text.contains(#""tools":[{"name":"mine"}]"#)
                && text.contains(#""output":[\#(shown)]"#)
                && text.contains(#""input_tokens":4"#), "\(text)")
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions])
    func `what the client gets does not depend on how the bytes were cut`(api: ModelProtocol) throws {
        let whole = try Self.run(api, step: .max / 2)
        for step in [1, 7, 100] { #expect(try Self.run(api, step: step) == whole) }
        #expect(whole.contains("Hé") && whole.contains(" end") && !whole.contains(Self.name()), "\(whole)")
        #expect(!whole.contains("\"b\""), "\(whole)")
        let usage =
            api == .messages
            ? #""usage":{"input_tokens":12,"cache_creation":{"x":3},"output_tokens":7}"#
            : #""usage":{"prompt_tokens":12,"completion_tokens":7}"#
        #expect(whole.contains(usage), "\(whole)")
        #expect(whole.components(separatedBy: "\"role\"").count == (api == .messages ? 1 : 2), "\(whole)")
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions, .responses])
    func `an upstream's nonsense changes nothing but itself`(api: ModelProtocol) throws {
        let request = try Self.request(api, #"{"messages":[],"input":[]}"#)
        for event in [
            "{}", "[]", "null", #"{"type":"content_block_start"}"#, #"{"type":"content_block_delta","index":-9223372036854775808}"#,
            #"{"choices":[1]}"#, #"{"choices":[{"delta":{"tool_calls":[1,{"index":99999999999999999999}]}}]}"#,
            #"{"type":"response.output_item.added","output_index":5,"item":7}"#, #"{"type":"response.completed"}"#,
            #"{"type":"message_delta","usage":{"output_tokens":9223372036854775807}}"#, "{\"type\":\"x\ny\"}",
        ] {
            var answer = InjectedAnswer(request, Self.tools, streamed: true)
            for _ in 0..<3 {
                answer.begin()
                _ = try answer.take(ByteBuffer(string: "data: \(event)\n\n"))
                _ = answer.endRound()
            }
            _ = answer.close()
            var whole = InjectedAnswer(request, Self.tools, streamed: false)
            whole.begin()
            _ = try whole.take(ByteBuffer(string: event))
            #expect(whole.endRound().calls.isEmpty)
            #expect(String(buffer: whole.close()) == event)
        }
    }
}
