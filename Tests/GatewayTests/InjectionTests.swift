import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct InjectionTests {
    struct Wire: Sendable, CustomTestStringConvertible {
        var api: ModelProtocol
        var isStream: Bool
        /// The provider whose protocol is another one is asked.
        var provider: String
        var testDescription: String { "\(api.rawValue) \(isStream ? "streamed" : "whole") at \(provider)" }

        static let own = [false, true].flatMap {
            [
                Wire(api: .messages, isStream: $0, provider: "anthropic"),
                Wire(api: .chatCompletions, isStream: $0, provider: "openai"),
                Wire(api: .responses, isStream: $0, provider: "openai"),
            ]
        }
        static let translated = [false, true].flatMap {
            [
                Wire(api: .messages, isStream: $0, provider: "openai"),
                Wire(api: .chatCompletions, isStream: $0, provider: "anthropic"),
                Wire(api: .responses, isStream: $0, provider: "anthropic"),
            ]
        }

        var route: String { api.route(model: "", stream: false) }

        /// - Parameter turns: messages or items, as JSON.
        func body(_ turns: String, own tool: Bool = false) -> String {
            let schema = #"{"type":"object"}"#
            let tools: String
            switch api {
            case .messages, .gemini: tools = #"{"name":"mine","input_schema":\#(schema)}"#
            case .chatCompletions: tools = #"{"type":"function","function":{"name":"mine","parameters":\#(schema)}}"#
            case .responses: tools = #"{"type":"function","name":"mine","parameters":\#(schema)}"#
            }
            let limit = api.outputLimitField
            let usage = api == .chatCompletions && isStream ? #""stream_options":{"include_usage":true},"# : ""
            return
                #"{"model":"\#(Stage.model)",\#(tool ? #""tools":[\#(tools)],"# : "")"\#(limit)":1000,"stream":\#(isStream),\#(usage)"x":[1, 2],"\#(api == .responses ? "input" : "messages")":[\#(turns)]}"#
        }
    }

    static let question = #"{"role":"user","content":"What does it say?"}"#

    /// - Parameter inject: nil: the server's tools are for nobody's calls.
    static func with(
        _ model: ScriptedModel, _ tools: ToolUpstream = ToolUpstream(), inject: ToolServer.Injection? = .always,
        _ body: (Stage, Gateway) async throws -> Void
    ) async throws {
        try await RawServer.with(tools.script) { server in
            try await Stage.with(model.script) { stage in
                try await stage.gateway { gateway in
                    var change = ToolServerService.Change()
                    change.url = server.url + "mcp"
                    change.allowsPrivateAddresses = true
                    change.injection = inject
                    _ = try await gateway.tools.servers.create(stage.user, name: "tools", change)
                    try await gateway.settings.refresh()
                    try await body(stage, gateway)
                    try await DataGuardTests.quiet(gateway)
                    try await stage.expectSound(gateway)
                }
            }
        }
    }

    private static func call(_ stage: Stage, _ wire: Wire, _ body: String, headers: [(name: String, value: String)] = [])
        -> GatewayCall
    {
        stage.call(body, provider: wire.provider, route: wire.route, headers: headers)
    }

    static func read(_ text: String, _ wire: Wire) throws -> AnswerReader {
        var reader = AnswerReader(wire.api, streamed: wire.isStream)
        try reader.feed(ByteBuffer(string: text))
        reader.finish()
        return reader
    }

    @Test(arguments: Wire.own + Wire.translated)
    func `a model's call of an injected tool is run here, and the client sees one answer with all usage`(wire: Wire) async throws {
        let model = ScriptedModel([
            [.thinking("hm", signature: "c2lnbmVk"), .text("I look."), .call("tools__echo", id: "call_a", arguments: #"{"a":1}"#)],
            [.text("It says done.")],
        ])
        let tools = ToolUpstream()
        try await Self.with(model, tools) { stage, gateway in
            let answer = await gateway.call(Self.call(stage, wire, wire.body(Self.question)))
            let text = await answer.text()
            #expect(answer.status == 200, "\(text)")
            #expect(answer.header("x-slipway-tools") == "tools")
            let reader = try Self.read(text, wire)
            #expect(reader.isComplete && reader.stopReason == .endTurn, "\(text)")
            #expect(reader.text.hasPrefix("I look.") && reader.text.hasSuffix("It says done."), "\(text)")
            #expect(!text.contains("tools__echo") && !text.contains("call_a") && !text.contains("secret_of_the_gateway"), "\(text)")
            #expect(reader.usage?.input == 200 && reader.usage?.output == 14, "\(text)")
            if wire.isStream {
                for once in ["message_start", "message_stop", "[DONE]", "response.created\n", "response.completed\n"] {
                    #expect(text.components(separatedBy: once).count <= (once.hasPrefix("message") ? 3 : 2), "\(once) in \(text)")
                }
                #expect(!text.contains("chatcmpl-2") && !text.contains("msg_2") && !text.contains("resp_2"), "\(text)")
            }
            // The tool got what the model wrote, and the model what the tool said, in its own order.
            #expect(tools.seen("tools/call").first?.body.contains(#""name":"echo","arguments":{"a":1}"#) == true)
            let bodies = model.bodies
            #expect(bodies.count == 2 && bodies[0].contains("tools__echo") && bodies[0].contains("tools__delete_all"))
            #expect(bodies[1].contains("call_a") && bodies[1].contains("\"done\""), "\(bodies[1])")
            if wire.api == .messages, wire.provider == "anthropic" {
                #expect(bodies[1].contains(#"{"type":"thinking","thinking":"hm","signature":"c2lnbmVk"}"#), "\(bodies[1])")
            }
            try await DataGuardTests.quiet(gateway)
            // Both are on record and paid, and belong together.
            #expect(
                try await stage.ledger().map { "\($0.state) \($0.status) \($0.output)" }
                    == Array(repeating: "final completed 7", count: 2))
            let calls = try await gateway.tools.calls.list(.own(stage.user), .init(), try PageRequest()).items
            #expect(calls.map(\.tool) == ["echo"] && calls[0].toolUseID == "call_a" && calls[0].status == "ok")
            #expect(calls[0].interception != nil)
            #expect(try await stage.count("ai_interceptions", "request_id = 'req-1'") == 2)
        }
    }

    @Test(arguments: Wire.own)
    func `calls of the client's own tools go to the client alone, and its next request has everything again`(wire: Wire)
        async throws
    {
        let model = ScriptedModel([
            [.thinking("hm", signature: "c2lnbmVk"), .call("tools__echo", id: "call_a", arguments: "{}")],
            [
                .text("Both."), .call("tools__echo", id: "call_b", arguments: #"{"b":2}"#),
                .call("mine", id: "call_mine", arguments: #"{"c":3}"#),
            ],
            [.text("All done.")],
        ])
        try await Self.with(model) { stage, gateway in
            let text = await gateway.call(Self.call(stage, wire, wire.body(Self.question, own: true))).text()
            let reader = try Self.read(text, wire)
            let calls = reader.blocks.compactMap {
                if case .toolUse(let id, let name, let input, true) = $0 { "\(id) \(name) \(input)" } else { nil }
            }
            #expect(calls == [#"call_mine mine {"c":3}"#], "\(text)")
            #expect(reader.stopReason == .toolUse && reader.isComplete && !text.contains("call_b"), "\(text)")
            #expect(try await stage.toolCalls() == ["echo allow ok", "echo allow ok"])

            // As a client goes on: what it saw, and its own result.
            let turns: String
            switch wire.api {
            case .messages, .gemini:
                turns =
                    #"{"role":"assistant","content":[{"type":"text","text":"Both."},{"type":"tool_use","id":"call_mine","name":"mine","input":{"c":3},"cache_control":{"type":"ephemeral"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_mine","content":"mine too"}]}"#
            case .chatCompletions:
                turns =
                    #"{"role":"assistant","content":"Both.","tool_calls":[{"id":"call_mine","type":"function","function":{"name":"mine","arguments":"{\"c\":3}"}}]},{"role":"tool","tool_call_id":"call_mine","content":"mine too"}"#
            case .responses:
                turns =
                    #"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Both."}]},{"type":"function_call","call_id":"call_mine","name":"mine","arguments":"{\"c\":3}"},{"type":"function_call_output","call_id":"call_mine","output":"mine too"}"#
            }
            let end = await gateway.call(Self.call(stage, wire, wire.body("\(Self.question),\(turns)", own: true))).text()
            #expect(try Self.read(end, wire).text == "All done.")
            let last = try #require(model.bodies.last)
            let order = ["call_a", "call_b", "call_mine", "mine too"].map { last.range(of: $0)?.lowerBound }
            #expect(order.allSatisfy { $0 != nil } && order.compactMap { $0 } == order.compactMap { $0 }.sorted(), "\(last)")
            // Each call has its result, and nothing is there twice.
            for id in ["call_a", "call_b", "call_mine"] {
                #expect(last.components(separatedBy: "\"\(id)\"").count == 3, "\(id) in \(last)")
            }
            if wire.api == .messages {
                #expect(last.contains(#""signature":"c2lnbmVk""#) && last.contains("cache_control"), "\(last)")
            }
        }
    }

    @Test(arguments: Wire.own)
    func `a call into which nothing is injected passes as it came`(wire: Wire) async throws {
        let parts: [ScriptedModel.Part] = [.text("Hello."), .call("tools__echo", id: "call_a", arguments: "{}")]
        let ways: [(inject: ToolServer.Injection?, header: String?)] = [(nil, nil), (.asked, nil), (.always, "none")]
        for (inject, header) in ways {
            let model = ScriptedModel([parts])
            try await Self.with(model, inject: inject) { stage, gateway in
                let body = wire.body(Self.question)
                let headers = header.map { [(name: "X-Slipway-Tools", value: $0)] } ?? []
                let text = await gateway.call(Self.call(stage, wire, body, headers: headers)).text()
                let expected =
                    wire.isStream ? ScriptedModel.events(parts, 1, wire.api).joined() : ScriptedModel.whole(parts, 1, wire.api)
                #expect(text == expected)
                #expect(model.bodies == [body])
                #expect(!model.heads[0].lowercased().contains("x-slipway-tools"))
                let calls = try await stage.count("ai_mcp_calls")
                #expect(calls == 0)
            }
        }
    }

    @Test func `a client asks by a header for the servers that it may have, and reads which there are`() async throws {
        let wire = Wire.own[0]
        let model = ScriptedModel([[.text("Hello.")]])
        try await Self.with(model, inject: .asked) { stage, gateway in
            func ask(_ value: String) async -> GatewayAnswer {
                await gateway.call(
                    Self.call(stage, wire, wire.body(Self.question), headers: [(name: "x-slipway-tools", value: value)]))
            }
            #expect(await ask("tools").text() == ScriptedModel.whole([.text("Hello.")], 1, .messages))
            #expect(await ask("all").status == 200)
            let refused = await ask("tools, wiki")
            #expect(refused.status == 400)
            #expect(await refused.text().contains("names 'wiki'"))
            let mixed = await ask("all,none")
            #expect(mixed.status == 400)
            #expect(await mixed.text().contains("'all' and 'none' stand alone"))
            #expect(model.bodies.count == 2 && model.bodies.allSatisfy { $0.contains("tools__echo") })
            // A call that may be repeated must not run tools twice.
            let keyed = Self.call(
                stage, wire, wire.body(Self.question),
                headers: [(name: "x-slipway-tools", value: "all"), (name: "Idempotency-Key", value: "k")])
            #expect(await gateway.call(keyed).status == 200)
            #expect(model.bodies.last?.contains("tools__echo") == false)
        }
    }

    @Test func `a server that there is not is refused where there is none at all, too`() async throws {
        let wire = Wire.own[0]
        let model = ScriptedModel([[.text("Hello.")]])
        try await Self.with(model, inject: .never) { stage, gateway in
            let refused = await gateway.call(
                Self.call(stage, wire, wire.body(Self.question), headers: [(name: "x-slipway-tools", value: "nobody")]))
            #expect(refused.status == 400)
            #expect(await refused.text().contains("names 'nobody'"))
            // Under a key nothing is injected, and a wrong name is as wrong.
            let keyed = [(name: "Idempotency-Key", value: "k"), (name: "x-slipway-tools", value: "nobody")]
            #expect(await gateway.call(Self.call(stage, wire, wire.body(Self.question), headers: keyed)).status == 400)
            #expect(model.bodies.isEmpty)
        }
    }

    @Test func `what a rule refuses is told to the model, is on record, and never reaches the server of tools`() async throws {
        let rules = """
            name: tools
            default: next
            rules:
              - id: no-two
                resources: {mcp_servers: tools, tools: echo}
                when: {arguments: {n: "2"}}
                effect: deny
                reason: Two is too much.
              - id: ask-first
                resources: {mcp_servers: tools, tools: send}
                effect: require_approval
              - id: never
                resources: {tools: delete_all}
                effect: deny
              - id: none-of-the-clients
                resources: {tools: "tools__*"}
                effect: deny
            """
        let wire = Wire.own[3]
        let model = ScriptedModel([
            [
                .call("tools__echo", id: "call_1", arguments: #"{"n":1}"#),
                .call("tools__echo", id: "call_2", arguments: #"{"n":2}"#),
                .call("tools__send", id: "call_3", arguments: "{}"), .call("tools__echo", id: "call_4", arguments: "no object"),
            ],
            [.text("I see.")],
        ])
        let tools = ToolUpstream(tools: ["echo", "send", "delete_all"])
        try await Self.with(model, tools) { stage, gateway in
            _ = try await gateway.policies.put(stage.user, name: "tools", source: rules)
            try await gateway.settings.refresh()
            let text = await gateway.call(Self.call(stage, wire, wire.body(Self.question))).text()
            #expect(try Self.read(text, wire).text == "I see.", "\(text)")
            #expect(tools.seen("tools/call").count == 1)
            #expect(model.bodies[0].contains("tools__send") && !model.bodies[0].contains("tools__delete_all"))
            let last = try #require(model.bodies.last)
            for reason in ["Two is too much. (policy rule tools/no-two)", "Nobody can approve single calls here", "no JSON object"]
            {
                #expect(last.contains(reason), "\(last)")
            }
            #expect(last.components(separatedBy: #""is_error":true"#).count == 4)
            #expect(
                try await Set(stage.toolCalls()) == ["echo allow ok", "echo deny refused", "send approval refused"])
        }
    }

    @Test(arguments: Wire.own)
    func `a model that never stops calling is told to speak after ten rounds`(wire: Wire) async throws {
        let model = ScriptedModel([[.text("."), .call("tools__echo", id: "call_a", arguments: "{}")]])
        try await Self.with(model) { stage, gateway in
            let text = await gateway.call(Self.call(stage, wire, wire.body(Self.question))).text()
            let reader = try Self.read(text, wire)
            #expect(reader.isComplete && reader.stopReason == .endTurn && !text.contains("call_a"), "\(text)")
            #expect(model.bodies.count == InnerCall.mostRounds + 1)
            #expect(model.bodies.last?.contains(#""tool_choice""#) == true && model.bodies.last?.contains("are the limit") == true)
            #expect(try await stage.count("ai_mcp_calls") == InnerCall.mostRounds - 1)
            #expect(reader.usage?.output == 7 * (InnerCall.mostRounds + 1))
        }
    }

    @Test(arguments: Wire.own)
    func `each round is held by itself, and one that no budget covers ends the answer`(wire: Wire) async throws {
        let model = ScriptedModel([[.text("First."), .call("tools__echo", id: "call_a", arguments: "{}")], [.text("Second.")]])
        struct Meanwhile { var run: @Sendable () async throws -> Void }
        let meanwhile = NIOLockedValueBox(Meanwhile {})
        let tools = ToolUpstream { id, tool, connection in
            try await meanwhile.withLockedValue { $0 }.run()
            try await ToolUpstream.text("done")(id, tool, connection)
        }
        try await Self.with(model, tools) { stage, gateway in
            try await stage.setCap("1", gateway)
            meanwhile.withLockedValue { $0.run = { try await stage.setCap("0.000001", gateway) } }
            let answer = await gateway.call(Self.call(stage, wire, wire.body(Self.question)))
            let text = await answer.text()
            #expect(text.contains("budget"), "\(text)")
            if wire.isStream {
                var reader = AnswerReader(wire.api, streamed: true)
                try reader.feed(ByteBuffer(string: text))
                #expect(reader.error != nil && reader.text == "First.", "\(text)")
            } else {
                #expect(answer.status >= 400)
            }
            try await DataGuardTests.quiet(gateway)
            #expect(try await stage.ledger().count == 1 && model.bodies.count == 1)
        }
    }

    @Test func `a server of tools that is away is named, and the call goes on without it`() async throws {
        let wire = Wire.own[0]
        let model = ScriptedModel([[.text("Hello.")]])
        let tools = ToolUpstream(isEndless: true)
        try await Self.with(model, tools) { stage, gateway in
            let answer = await gateway.call(Self.call(stage, wire, wire.body(Self.question)))
            #expect(await answer.text() == ScriptedModel.whole([.text("Hello.")], 1, .messages))
            #expect(answer.header("x-slipway-tools-missing") == "tools")
        }
    }

    @Test func `a server that hangs holds a model call up once, and calls of tools under way hold none up`() async throws {
        let wire = Wire.own[0]
        let model = ScriptedModel([[.text("Hello.")]])
        let tools = ToolUpstream(isSilent: true)
        try await Self.with(model, tools) { stage, gateway in
            let (ends, end) = AsyncStream.makeStream(of: Never.self)
            let under = try (0..<ToolGateway.mostCallsOfUser).map { _ in
                try gateway.tools.run(stage.user.user) { for await _ in ends {} }
            }
            for number in 1...2 {
                let answer = await gateway.call(Self.call(stage, wire, wire.body(Self.question)))
                let text = await answer.text()
                #expect(text == ScriptedModel.whole([.text("Hello.")], number, .messages), "\(text)")
                #expect(answer.header("x-slipway-tools-missing") == "tools")
            }
            end.finish()
            for task in under { await task.value }
            #expect(tools.seen("tools/list").count == 1 && model.bodies.count == 2)
        }
    }

    @Test(arguments: Wire.own.filter { $0.api == .responses })
    func `an answer that is cut in a later round can be gone on with by its id`(wire: Wire) async throws {
        let model = ScriptedModel(
            [
                [.text("I look."), .call("tools__echo", id: "call_a", arguments: "{}")],
                [.text("Half"), .call("tools__echo", id: "call_b", arguments: "{}")], [.text("Rest.")],
            ], cut: 2)
        try await Self.with(model) { stage, gateway in
            let text = await gateway.call(Self.call(stage, wire, wire.body(Self.question))).text()
            #expect(text.contains("max_output_tokens") && !text.contains("call_b"), "\(text)")
            let shown = wire.isStream ? "resp_1" : "resp_2"
            #expect(text.contains(#""id":"\#(shown)""#), "\(text)")
            let body = wire.body(Self.question).replacing(#""x":"#, with: #""previous_response_id":"\#(shown)","x":"#)
            let end = await gateway.call(Self.call(stage, wire, body)).text()
            #expect(try Self.read(end, wire).text == "Rest.", "\(end)")
            let last = try #require(model.bodies.last)
            #expect(model.bodies.count == 3 && last.contains(#""previous_response_id":"resp_2""#), "\(last)")
            #expect(
                last.contains(#""call_id":"call_b""#) && last.contains("It was not called.") && !last.contains("call_a"), "\(last)")
            #expect(try await stage.toolCalls() == ["echo allow ok"])
        }
    }

    @Test func `another server knows what a client never saw, and reads no more of it than the newest 16 MiB`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { here in
                try await stage.gateway { there in
                    var turn = HiddenTurn()
                    turn.elements = [String(repeating: "x", count: HiddenTurns.largest - 10_000)]
                    let names = (0..<5).map { "turn \($0)" }
                    for name in names { await here.hiddenTurns.keep(turn, [name], stage.user) }
                    #expect(await here.hiddenTurns.find(names, stage.user).count == 5)
                    let found = await there.hiddenTurns.find(names, stage.user)
                    #expect(found.keys.sorted() == Array(names.dropFirst()) && found["turn 4"] == turn)
                    let stranger = try await Stage.makeUser(stage.pool, "eve")
                    #expect(await there.hiddenTurns.find(names, stranger).isEmpty)
                }
            }
        }
    }

    @Test func `a client that leaves while a tool works withdraws its call`() async throws {
        let wire = Wire.own[3]
        let model = ScriptedModel([[.text("First."), .call("tools__echo", id: "call_a", arguments: "{}")], [.text("Second.")]])
        // It never answers.
        let tools = ToolUpstream { _, _, connection in _ = try await connection.request() }
        try await Self.with(model, tools) { stage, gateway in
            let answer = await gateway.call(Self.call(stage, wire, wire.body(Self.question)))
            var iterator: GatewayBody.AsyncIterator? = answer.body.makeAsyncIterator()
            var text = ""
            while !text.contains("First.") { text += String(buffer: try #require(await iterator?.next())) }
            let reading = Task { [iterator] in
                var iterator = iterator
                while let piece = await iterator?.next() { _ = piece }
            }
            iterator = nil
            try await eventually { tools.seen("tools/call").count == 1 }
            reading.cancel()
            await reading.value
            try await eventually { try await stage.toolCalls() == ["echo allow cancelled"] }
            #expect(model.bodies.count == 1)
        }
    }
}
