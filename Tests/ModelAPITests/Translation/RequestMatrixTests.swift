import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct RequestMatrixTests {
    private static let pairs: [(ModelProtocol, UpstreamFormat)] = TranslatedRequests.clients.flatMap { client in
        UpstreamFormat.allCases.map { (client, $0) }
    }

    static func model(_ format: UpstreamFormat) -> String {
        switch format {
        case .messages: "claude-sonnet-4-5"
        case .bedrockMessages: "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
        case .bedrockConverse: "amazon.nova-pro-v1:0"
        case .chatCompletions: "qwen3-coder"
        case .responses: "gpt-4.1"
        case .gemini: "gemini-2.5-pro"
        }
    }

    @Test func `the three clients say the same`() throws {
        let read = try TranslatedRequests.clients.map { try ClientRequest.read(TranslatedRequests.body($0), as: $0) }
        let expected = Essence(read[0].conversation)
        #expect(Essence(read[1].conversation) == expected)
        #expect(Essence(read[2].conversation) == expected)
        #expect(
            expected.description == """
                system Be brief.

                Be "kind".
                tool read_file Reads. {"type":"object","properties":{"path":{"type":"string"}}}
                tool list  {"type":"object"}
                choice required, at most 9000
                user: What is this?
                user: image data:image/png;base64,iVBORw0KGgo=
                assistant: Let me see 😀
                call c1 read_file {"path": "a/b"} true
                call c2 list {} true
                result c1 no such file
                result c2 seen
                user: image data:image/png;base64,iVBORw0KGgo=
                user: Go on.
                """)
        for request in read {
            #expect(request.stream && request.conversation.sampling.temperature?.text == "0.20")
            #expect((request.conversation.user ?? request.conversation.sessionID) == "who")
        }
        #expect(read[1].includeUsage)
        #expect(read[0].losses.names == ["cache_control", "tools.web_search_20250305"])
        #expect(read[1].losses.names == ["logprobs"])
        #expect(read[2].losses.names == ["tools.local_shell", "top_logprobs"])
        // Thinking is kept with its proof, each kind as its own.
        #expect(read[0].conversation.messages[1].content.first == .answer(.thinking(text: "Look.", signature: "EqQB==")))
        guard case .answer(.thinking("Look.", let item?))? = read[2].conversation.messages[1].content.first else {
            Issue.record("no reasoning")
            return
        }
        #expect(item.isReasoningItem)
    }

    @Test(arguments: pairs) func `what one protocol asks is read back from every other`(_ pair: (ModelProtocol, UpstreamFormat))
        throws
    {
        let (client, format) = pair
        let request = try ClientRequest.read(TranslatedRequests.body(client), as: client)
        let upstream = try request.encode(for: format, model: Self.model(format))
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(upstream.body.readableBytesView)) as? [String: Any])
        if format == .gemini { return try checkGemini(object) }
        if format == .bedrockConverse { return try checkConverse(object) }
        var body = upstream.body
        if format == .bedrockMessages {
            #expect(object["anthropic_version"] as? String == "bedrock-2023-05-31")
            #expect(object["model"] == nil && object["stream"] == nil)
            body = ByteBuffer(string: "{\"model\":\"m\"," + String(buffer: body).dropFirst())
        } else {
            #expect(object["model"] as? String == Self.model(format) && object["stream"] as? Bool == true)
        }
        let again = try ClientRequest.read(body, as: format.api)
        #expect(Essence(again.conversation) == Essence(request.conversation))
        #expect(again.conversation.sampling.temperature?.text == "0.20")
        #expect(again.conversation.stopSequences == (format == .responses || client == .responses ? [] : ["END"]))
        // And the gateway's own reader agrees on what decides.
        if format != .bedrockMessages {
            let summary = try RequestSummary.read(upstream.body, as: format.api)
            #expect(summary.model == Self.model(format) && summary.maxOutputTokens == 9000)
        }
        // Errors of tools have a place in Anthropic's protocol alone; thinking stays at home.
        if client == .messages {
            #expect(upstream.losses.names.contains("messages.content.tool_result.is_error") == format.isOpenAI)
            #expect(upstream.losses.names.contains("messages.content.thinking") == (format.api != .messages))
            #expect(upstream.losses.names.contains("stop_sequences") == (format == .responses))
            let keepsFailure = again.conversation.messages.contains { $0.content.contains(where: Self.isFailure) }
            #expect(keepsFailure != format.isOpenAI)
        }
        if client == .responses { #expect(upstream.losses.names.contains("input.reasoning") == (format != .responses)) }
    }

    private static func isFailure(_ block: ContentBlock) -> Bool {
        if case .toolResult(_, _, true) = block { true } else { false }
    }

    private func checkGemini(_ object: [String: Any]) throws {
        let contents = try #require(object["contents"] as? [[String: Any]])
        #expect(contents.map { $0["role"] as? String } == ["user", "model", "user"])
        let parts = contents.map { $0["parts"] as? [[String: Any]] ?? [] }
        #expect((parts[0].last?["inlineData"] as? [String: String]) == ["mimeType": "image/png", "data": TranslatedRequests.pixel])
        let calls = parts[1].compactMap { $0["functionCall"] as? [String: Any] }
        #expect(
            calls.map { $0["name"] as? String } == ["read_file", "list"] && calls[0]["args"] as? [String: String] == ["path": "a/b"]
        )
        let results = parts[2].compactMap { $0["functionResponse"] as? [String: Any] }
        #expect(results.map { $0["name"] as? String } == ["read_file", "list"])
        #expect(parts[2].contains { $0["inlineData"] != nil } && parts[2].last?["text"] as? String == "Go on.")
        let config = try #require(object["generationConfig"] as? [String: Any])
        #expect(config["maxOutputTokens"] as? Int == 9000 && config["temperature"] as? Double == 0.2)
        #expect(
            String(describing: object["toolConfig"]).contains("ANY")
                && String(describing: object["systemInstruction"]).contains("kind"))
    }

    private func checkConverse(_ object: [String: Any]) throws {
        let messages = try #require(object["messages"] as? [[String: Any]])
        #expect(messages.map { $0["role"] as? String } == ["user", "assistant", "user"])
        let content = messages.map { $0["content"] as? [[String: Any]] ?? [] }
        let image = try #require(content[0].last?["image"] as? [String: Any])
        #expect(image["format"] as? String == "png" && image["source"] as? [String: String] == ["bytes": TranslatedRequests.pixel])
        let calls = content[1].compactMap { $0["toolUse"] as? [String: Any] }
        #expect(calls.map { $0["toolUseId"] as? String } == ["c1", "c2"])
        #expect(calls[0]["input"] as? [String: String] == ["path": "a/b"])
        let results = content[2].compactMap { $0["toolResult"] as? [String: Any] }
        #expect(results.map { $0["toolUseId"] as? String } == ["c1", "c2"])
        #expect((results[1]["content"] as? [[String: Any]])?.last?["image"] != nil)
        #expect(content[2].last?["text"] as? String == "Go on.")
        let config = try #require(object["inferenceConfig"] as? [String: Any])
        #expect(config["maxTokens"] as? Int == 9000 && config["temperature"] as? Double == 0.2)
        let tools = try #require(object["toolConfig"] as? [String: Any])
        #expect((tools["tools"] as? [Any])?.count == 2 && (tools["toolChoice"] as? [String: Any])?["any"] != nil)
        #expect(String(describing: object["system"]).contains("kind") && object["model"] == nil)
    }

    @Test func `nothing that a client asks for is dropped without its name`() throws {
        let body = ByteBuffer(
            string: """
                {"model":"m","max_tokens":50,"top_k":5,"seed":7,"frequency_penalty":0.5,"logit_bias":{"1":2},"service_tier":"flex","store":false,
                "messages":[{"role":"user","name":"Bob","content":[{"type":"text","text":"a"},{"type":"video_url","video_url":{}}]}],
                "x\\r\\nset-cookie: a":1}
                """)
        let request = try ClientRequest.read(body, as: .chatCompletions)
        let upstream = try request.encode(for: .messages, model: "claude-sonnet-4-5")
        #expect(
            upstream.losses.headerValue
                == "messages.content.video_url, messages.name, logit_bias, service_tier, x__set-cookie__a, frequency_penalty, seed")
        #expect(String(buffer: upstream.body).contains(#""top_k":5"#))
        var many = Losses()
        for index in 0..<60 { many.note("f\(index)") }
        #expect(many.names.count == 40 && many.headerValue?.hasSuffix(", and 20 more") == true)
    }

    @Test func `thinking is asked for in the words of each model`() throws {
        func sent(_ fields: String, _ client: ModelProtocol, _ format: UpstreamFormat, _ model: String) throws -> (String, [String])
        {
            let content = client == .responses ? "\"input\":\"q\"" : "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]"
            let request = try ClientRequest.read(ByteBuffer(string: "{\"model\":\"m\",\(fields),\(content)}"), as: client)
            let upstream = try request.encode(for: format, model: model)
            return (String(buffer: upstream.body), upstream.losses.names)
        }
        let effort = #""reasoning_effort":"medium""#
        #expect(
            try sent(effort, .chatCompletions, .messages, "claude-sonnet-4-5").0.contains(
                #""thinking":{"type":"enabled","budget_tokens":8192}"#))
        let adaptive = try sent(effort + #","temperature":0.5"#, .chatCompletions, .messages, "claude-opus-4-7")
        #expect(adaptive.0.contains(#""thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"medium"}"#))
        #expect(!adaptive.0.contains("temperature") && adaptive.1 == ["temperature"])
        #expect(
            try sent(effort, .chatCompletions, .bedrockMessages, "us.anthropic.claude-3-5-sonnet-20241022-v2:0").1 == [
                "reasoning_effort"
            ])
        #expect(
            try sent(effort, .chatCompletions, .gemini, "gemini-2.5-pro").0.contains(
                #""thinkingConfig":{"thinkingBudget":8192,"includeThoughts":true}"#))
        #expect(
            try sent(effort, .chatCompletions, .gemini, "gemini-3-pro").0.contains(
                #""thinkingConfig":{"thinkingLevel":"medium","includeThoughts":true}"#))
        let budget = #""max_tokens":20000,"temperature":1,"thinking":{"type":"enabled","budget_tokens":16000}"#
        let gpt = try sent(budget, .messages, .responses, "gpt-5.1")
        #expect(
            gpt.0.contains(#""reasoning":{"effort":"high","summary":"auto"}"#) && gpt.1.isEmpty && !gpt.0.contains("temperature"))
        #expect(try sent(budget, .messages, .chatCompletions, "gpt-5-mini").0.contains(#""reasoning_effort":"high""#))
        #expect(try sent(budget, .messages, .chatCompletions, "llama-3").1 == ["thinking"])
        #expect(try sent(#""max_tokens":9,"thinking":{"type":"disabled"}"#, .messages, .responses, "gpt-5.1").1.isEmpty)
        #expect(
            try sent(#""reasoning":{"effort":"xhigh"}"#, .responses, .messages, "claude-opus-4-8").0.contains(#""effort":"xhigh""#))
        // In the middle of calls that were made without thinking, Anthropic would refuse it.
        let loop = try ClientRequest.read(TranslatedRequests.body(.chatCompletions), as: .chatCompletions)
        var inside = loop
        inside.conversation.effort = .high
        inside.conversation.toolChoice = .auto
        inside.conversation.messages[2].content.removeLast()
        let upstream = try inside.encode(for: .messages, model: "claude-sonnet-4-5")
        #expect(!String(buffer: upstream.body).contains("thinking") && upstream.losses.names.contains("reasoning_effort"))
    }

    @Test func `models are told apart by their names`() {
        for (name, generation) in [
            ("claude-opus-4-7", 47), ("claude-3-5-sonnet-20241022", 35), ("claude-sonnet-4-20250514", 40), ("claude-sonnet-5", 50),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 45), ("claude-3-opus-20240229", 30),
            ("anthropic/claude-haiku-4.5", 45),
            ("claude-next", 1000), ("my-alias", 1000),
        ] { #expect(ClaudeModel(name).generation == generation, "\(name)") }
    }

    @Test func `names and ids that an upstream would refuse are replaced, always by the same`() throws {
        let long = "mcp__" + String(repeating: "very_long_server_name__", count: 4) + "tool"
        let body = """
            {"model":"m","max_tokens":9,"tools":[{"name":"\(long)","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"\(long)"},
            "messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"functions.read:0","name":"\(long)","input":{}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"functions.read:0","content":"r"}]}]}
            """
        let request = try ClientRequest.read(ByteBuffer(string: body), as: .messages)
        let upstream = try request.encode(for: .chatCompletions, model: "m")
        let short = try #require(upstream.toolNames.first { $0.value == long }?.key)
        #expect(short.utf8.count <= 64 && short.hasPrefix("mcp__very_long"))
        #expect(String(buffer: upstream.body).components(separatedBy: "\"\(short)\"").count == 4)
        let claude = try request.encode(for: .messages, model: "claude-sonnet-4-5")
        let safe = ToolNames.fitting("functions.read:0", limit: 128)
        #expect(String(buffer: claude.body).components(separatedBy: "\"\(safe)\"").count == 3 && claude.toolNames.isEmpty)
    }

    @Test func `Anthropic's body for Bedrock keeps every byte but the three fields`() throws {
        let cases: [(String, String)] = [
            (
                #"{"model":"m","stream":true, "max_tokens" : 5,"x":[1, 2]}"#,
                #"{"anthropic_version":"bedrock-2023-05-31", "max_tokens" : 5,"x":[1, 2]}"#
            ),
            (#"{ "a":1 , "model":"m","b":2, "stream":false }"#, #"{"anthropic_version":"bedrock-2023-05-31", "a":1 ,"b":2 }"#),
            (#"{"model":"m"}"#, #"{"anthropic_version":"bedrock-2023-05-31"}"#),
            (#"{"stream":true,"model":"m"}"#, #"{"anthropic_version":"bedrock-2023-05-31"}"#),
            ("{}", #"{"anthropic_version":"bedrock-2023-05-31"}"#),
        ]
        for (body, expected) in cases {
            let buffer = ByteBuffer(string: body)
            let edited = String(buffer: BodyEdit.apply(all: try BedrockBody.edits(buffer), to: buffer))
            #expect(edited.filter { $0 != " " } == expected.filter { $0 != " " })
            #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(edited.utf8)) }
        }
        let whole = ByteBuffer(string: TranslatedRequests.messages)
        let edited = String(buffer: BodyEdit.apply(all: try BedrockBody.edits(whole, betas: ["b-1"]), to: whole))
        let tail = TranslatedRequests.messages.range(of: #""temperature""#)!.lowerBound
        #expect(edited.hasSuffix(TranslatedRequests.messages[tail...]) && edited.contains(#""anthropic_beta":["b-1"]"#))
        #expect(throws: AppError.self) { try BedrockBody.edits(ByteBuffer(string: #"{"model":"a","model":"b"}"#)) }
    }
}
