import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Policies
import TestSupport
import Testing

@testable import Gateway

@Suite struct DataGuardTests {
    // Made here, so that no scanner of repositories takes it for somebody's.
    static let token = ["ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"].joined()
    static let removed = "[redacted: secret.github_token]"

    static func policy(_ rules: String, patterns: String = "") -> String {
        "name: data\ndefault: next\n\(patterns)rules:\n" + rules.split(separator: "\n").map { "  - \($0)\n" }.joined()
    }

    static let redact = policy("{id: tokens, effect: redact, resources: {data_classes: 'secret.*'}}")
    static let deny = policy(
        "{id: tokens, effect: deny, resources: {data_classes: 'secret.*'}, reason: Secrets stay in the vault.}")
    static let flag = policy("{id: tokens, effect: flag, resources: {data_classes: 'secret.*'}}")

    /// What upstreams got.
    final class Seen: Sendable {
        private let bodies = NIOLockedValueBox<[String]>([])
        var all: [String] { bodies.withLockedValue { $0 } }

        func script(_ answer: @escaping RawServer.Script) -> RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    self.bodies.withLockedValue { $0.append(String(buffer: request.body)) }
                    try await answer(connection)
                }
            }
        }

        static func sending(_ text: String, _ type: String = "application/json") -> RawServer.Script {
            { try await $0.send(Upstream.head(type, length: text.utf8.count) + text) }
        }

        /// Each event in a packet of its own.
        static func streaming(_ events: [String]) -> RawServer.Script {
            { connection in
                try await connection.send(Upstream.head("text/event-stream"))
                for event in events { try await connection.send(Upstream.chunk(event)) }
                try await connection.send(Upstream.lastChunk)
            }
        }
    }

    static func with(
        _ policy: String, _ answer: @escaping RawServer.Script = Seen.sending(Upstream.message()),
        _ body: (Stage, Gateway, Seen) async throws -> Void
    ) async throws {
        let seen = Seen()
        try await Stage.with(seen.script(answer)) { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.policies.put(stage.user, name: try PolicyReader.read(policy).name, source: policy)
                try await body(stage, gateway, seen)
                try await quiet(gateway)
                try await stage.expectSound(gateway)
                try await expectNoToken(stage)
            }
        }
    }

    /// Everything that was begun is written.
    static func quiet(_ gateway: Gateway) async throws {
        await gateway.settle.idle()
        await gateway.content.idle()
    }

    /// No row anywhere holds it, packed or not.
    static func expectNoToken(_ stage: Stage, _ location: SourceLocation = #_sourceLocation) async throws {
        for row in try await stage.pool.query("SELECT encoding, data FROM ai_chunks") {
            let data = try row["data", as: Data.self]
            let plain = try row["encoding", as: Int.self] == 1 ? Deflate.inflate(data) : data
            let text = String(decoding: plain, as: UTF8.self)
            #expect(!text.contains(token) && !text.contains("0mLq17"), sourceLocation: location)
        }
        for (table, column) in [
            ("ai_user_prompts", "prompt"), ("ai_tool_usages", "input"), ("ai_tool_results", "result"),
            ("ai_interceptions", "error"),
            ("ai_findings", "path || subject"),
        ] {
            #expect(try await stage.count(table, "\(column) LIKE '%0mLq17%'") == 0, "\(table)", sourceLocation: location)
        }
    }

    static func findings(_ stage: Stage) async throws -> [String] {
        try await stage.pool.query(
            "SELECT place, path, subject, rule, effect, count FROM ai_findings ORDER BY at, phase DESC, n"
        ).map { row in
            "\(try row["place", as: String.self]) \(try row["path", as: String.self]) \(try row["subject", as: String.self]) \(try row["rule", as: String.self]) \(try row["effect", as: String.self]) \(try row["count", as: Int.self])"
        }
    }

    // MARK: Prompts

    @Test func `a prompt with a secret is refused before it is sent, by the rule's id, and is on record without it`() async throws {
        try await Self.with(Self.deny) { stage, gateway, seen in
            let answer = await gateway.call(stage.call(Stage.messages("my token is \(Self.token)!")))
            let text = await answer.text()
            #expect(answer.status == 403)
            #expect(
                text.contains(#""type":"permission_error""#)
                    && text.contains("Secrets stay in the vault. (policy rule data/tokens)"))
            #expect(text.contains("secret.github_token") && text.contains("messages[0].content") && !text.contains(Self.token))
            #expect(seen.all == [])
            let findings = try await Self.findings(stage)
            #expect(findings == ["prompt messages[0].content secret.github_token data/tokens blocked 1"])
            #expect(try await stage.count("ai_interceptions", "status = 'refused' AND policy = 'data/tokens'") == 1)
            // Without one it goes.
            #expect(await gateway.call(stage.call(Stage.messages("my token is secret"))).status == 200)
            #expect(seen.all.count == 1)
        }
    }

    @Test func `escapes hide nothing, also those of JSON in JSON`() async throws {
        try await Self.with(Self.deny, Seen.sending(Upstream.completion())) { stage, gateway, seen in
            let escaped = Self.token.replacing("ghp_", with: #"\u0067\u0068p\u005f"#)
            #expect(await gateway.call(stage.call(Stage.messages(escaped))).status == 403)
            let twice = Self.token.replacing("ghp_", with: #"\\u0067hp\\u005f"#)
            let body = """
                {"model":"\(Stage.model)","messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":
                {"name":"f","arguments":"{\\"a\\":\\"\(twice)\\"}"}}]},{"role":"tool","tool_call_id":"c1","content":"ok"}]}
                """
            #expect(await gateway.call(stage.call(body, provider: "openai")).status == 403)
            #expect(seen.all == [])
            let last = try await Self.findings(stage).last
            #expect(last?.hasPrefix("tool_input messages[0].tool_calls[0].function.arguments") == true)
        }
    }

    @Test func `what is redacted is cut out of its place, and every other byte stays`() async throws {
        try await Self.with(Self.redact) { stage, gateway, seen in
            let escaped = Self.token.replacing("ghp_", with: #"gh\u0070_"#)
            let body = """
                {"model" : "\(Stage.model)", "max_tokens":100, "x": 1.50, "messages":[ {"role":"user","content":"a\\n\(Self.token), \(escaped)\\t"},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"it says \(Self.token)"}]}]}
                """
            #expect(await gateway.call(stage.call(body)).status == 200)
            #expect(seen.all == [body.replacing(Self.token, with: Self.removed).replacing(escaped, with: Self.removed)])
            #expect(
                try await Self.findings(stage) == [
                    "prompt messages[0].content secret.github_token data/tokens redacted 2",
                    "tool_result messages[1].content[0].content secret.github_token data/tokens redacted 1",
                ])
            try await Self.quiet(gateway)
            let results = try await stage.pool.query("SELECT result FROM ai_tool_results")
            #expect(try results.map { try $0["result", as: String.self] } == ["it says \(Self.removed)"])
            // The count of tokens shows the provider the prompt as well.
            let count = await gateway.call(stage.call(body, route: "v1/messages/count_tokens"))
            #expect(count.status == 200)
            #expect(seen.all.count == 2 && !seen.all[1].contains(Self.token))
        }
    }

    @Test func `what is signed is never changed: the call is refused and told why, or passes marked, as the rule says`()
        async throws
    {
        let thinking = """
            {"model":"\(Stage.model)","max_tokens":100,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[
            {"type":"thinking","thinking":"the token \(Self.token)","signature":"c2ln"},{"type":"text","text":"Hello."}]},
            {"role":"user","content":"and?"}]}
            """
        try await Self.with(Self.redact) { stage, gateway, seen in
            let answer = await gateway.call(stage.call(thinking))
            #expect(answer.status == 403)
            let told = await answer.text()
            #expect(told.contains("without breaking the provider's signature"))
            #expect(seen.all == [])
        }
        let lenient = Self.policy(
            "{id: tokens, effect: redact, otherwise: flag, resources: {data_classes: 'secret.*'}}")
        let seen = Seen()
        try await Stage.with(seen.script(Seen.sending(Upstream.message()))) { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.policies.put(stage.user, name: "data", source: lenient)
                #expect(await gateway.call(stage.call(thinking)).status == 200)
                #expect(seen.all == [thinking])
                #expect(
                    try await Self.findings(stage) == [
                        "prompt messages[1].content[0].thinking secret.github_token data/tokens flagged 1"
                    ])
            }
        }
    }

    @Test func `rules are for people, places and an admin's own patterns`() async throws {
        let own = Self.policy(
            """
            {id: ada-may, effect: allow, subjects: {users: ada}, resources: {data_classes: 'secret.*'}}
            {id: tickets, effect: deny, resources: {data_classes: pattern.ticket, places: tool_result}}
            {id: tokens, effect: deny, resources: {data_classes: 'secret.*'}}
            """, patterns: "patterns:\n  - {name: ticket, match: 'ACME-\\d{3,6}'}\n")
        try await Self.with(own) { stage, gateway, seen in
            let lin = try await Stage.makeUser(stage.pool, "lin")
            func status(_ text: String, as user: Principal? = nil) async -> Int {
                await gateway.call(stage.call(Stage.messages(text), as: user)).status
            }
            #expect(await status(Self.token, as: lin) == 403)
            #expect(await status("ACME-1234") == 200)
            let result = """
                {"model":"\(Stage.model)","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ACME-1234"}]}]}
                """
            #expect(await gateway.call(stage.call(result)).status == 403)
            #expect(seen.all.count == 1)
        }
    }

    @Test func `targets to which data must not go are left out of a route`() async throws {
        let rules = Self.policy(
            "{id: not-there, effect: deny, resources: {data_classes: 'secret.*', providers: anthropic}}")
        let seen = Seen()
        try await Stage.with(seen.script(Seen.sending(Upstream.message()))) { stage in
            try await stage.gateway(providers: [stage.provider("local", .anthropic)]) { gateway in
                _ = try await gateway.policies.put(stage.user, name: "data", source: rules)
                _ = try await gateway.routes.put(
                    stage.user, name: "best", targets: ["anthropic/\(Stage.model)", "local/\(Stage.model)"])
                func target(_ text: String) async -> String? {
                    await gateway.call(stage.call(Stage.messages(text, model: "best"), provider: "auto")).header("x-slipway-target")
                }
                #expect(await target("hi") == "anthropic/\(Stage.model)")
                #expect(await target(Self.token) == "local/\(Stage.model)")
                // It may go there, and so it does.
                #expect(seen.all.last?.contains(Self.token) == true)
            }
        }
    }

    // MARK: Answers

    @Test func `a whole answer is redacted, or kept back at its price`() async throws {
        let leaky = Upstream.message("it is \(Self.token).", input: 100, output: 50)
        try await Self.with(Self.redact, Seen.sending(leaky)) { stage, gateway, _ in
            let answer = await gateway.call(stage.call(Stage.messages()))
            let shown = await answer.text()
            #expect(shown == leaky.replacing(Self.token, with: Self.removed))
            try await Self.quiet(gateway)
            #expect(try await Self.findings(stage) == ["answer content[0].text secret.github_token data/tokens redacted 1"])
        }
        try await Self.with(Self.deny, Seen.sending(leaky)) { stage, gateway, _ in
            let answer = await gateway.call(stage.call(Stage.messages()))
            #expect(answer.status == 403)
            let text = await answer.text()
            #expect(text.contains("permission_error") && text.contains("data/tokens") && !text.contains(Self.token))
            try await Self.quiet(gateway)
            let ledger = try await stage.ledger()
            #expect(ledger.map(\.status) == ["cut"] && ledger[0].input == 100 && ledger[0].output == 50)
        }
    }

    /// The text in pieces of every size, so that every border lies inside of the token once.
    static let pieces: [Int] = [1, 2, 3, 7, 20, 39, 60]

    static func cut(_ text: String, _ size: Int) -> [String] {
        let bytes = Array(text.utf8)
        return stride(from: 0, to: bytes.count, by: size).map {
            String(decoding: bytes[$0..<min(bytes.count, $0 + size)], as: UTF8.self)
        }
    }

    private static func text(_ answer: String, _ api: ModelProtocol) -> String {
        var reader = AnswerReader(api, streamed: true)
        try? reader.feed(ByteBuffer(string: answer))
        reader.finish()
        #expect(reader.isComplete && reader.unreadableEvents == 0, "\(answer)")
        return reader.text
    }

    @Test(arguments: pieces) func `a streamed answer is redacted across the borders of its events`(size: Int) async throws {
        let said = "Your token is \(Self.token), keep it."
        try await Self.with(Self.redact, Seen.streaming(Upstream.messageStream(Self.cut(said, size)))) { stage, gateway, _ in
            let text = await gateway.call(stage.call(Stage.messages(stream: true))).text()
            #expect(Self.text(text, .messages) == "Your token is \(Self.removed), keep it.")
            // Events around it are as they were.
            #expect(text.contains("data:   {\"type\" : \"some_future_event\" ,\"x\":[ ]}\r\n\r\n"))
            try await Self.quiet(gateway)
            #expect(try await Self.findings(stage) == ["answer  secret.github_token data/tokens redacted 1"])
            #expect(try await stage.ledger().map(\.status) == ["completed"])
        }
        try await Self.with(Self.redact, Seen.streaming(Upstream.chatStream(Self.cut(said, size), usage: true))) {
            stage, gateway, _ in
            let text = await gateway.call(stage.call(Stage.chat(stream: true), provider: "openai")).text()
            #expect(Self.text(text, .chatCompletions) == "Your token is \(Self.removed), keep it.")
            #expect(!text.contains("\"usage\""))
        }
    }

    @Test func `a stream without anything passes byte for byte`() async throws {
        let events = Upstream.messageStream(["Hel", "lo, ada", "@", "example: a \\u00e4 ghp", "_x."])
        try await Self.with(Self.redact, Seen.streaming(events)) { stage, gateway, _ in
            #expect(await gateway.call(stage.call(Stage.messages(stream: true))).text() == events.joined())
        }
    }

    @Test(arguments: pieces) func `a streamed answer that must not pass ends with an error of its protocol`(size: Int) async throws
    {
        let said = "Your token is \(Self.token), keep it."
        try await Self.with(Self.deny, Seen.streaming(Upstream.messageStream(Self.cut(said, size)))) { stage, gateway, _ in
            let text = await gateway.call(stage.call(Stage.messages(stream: true))).text()
            var reader = AnswerReader(.messages, streamed: true)
            try reader.feed(ByteBuffer(string: text))
            #expect(reader.error?.type == "permission_error" && reader.error?.message.contains("data/tokens") == true)
            #expect("Your token is ".hasPrefix(reader.text.prefix(14)) && reader.text.count <= 14, "\(reader.text)")
            #expect(!text.contains("ghp_zQ") && text.hasSuffix("\n\n"))
            try await Self.quiet(gateway)
            #expect(try await stage.ledger().map(\.status) == ["cut"])
            #expect(try await Self.findings(stage) == ["answer  secret.github_token data/tokens blocked 1"])
        }
    }

    @Test func `a stream that is only flagged passes untouched`() async throws {
        let events = Upstream.messageStream(Self.cut("Your token is \(Self.token).", 5))
        try await Stage.with(Seen().script(Seen.streaming(events))) { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.policies.put(stage.user, name: "data", source: Self.flag)
                #expect(await gateway.call(stage.call(Stage.messages(stream: true))).text() == events.joined())
                try await Self.quiet(gateway)
                #expect(try await Self.findings(stage) == ["answer  secret.github_token data/tokens flagged 1"])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test(arguments: [1, 4, 50]) func `what a tool is called with is JSON in JSON, and looked through as well`(size: Int)
        async throws
    {
        // The model writes the underscore as an escape.
        let json = #"{"command":"login \#(Self.token.replacing("_", with: #"\u005f"#)) now"}"#
        let escaped = json.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        var pieces: [String] = []
        var piece = ""
        for character in escaped {
            piece.append(character)
            // Not in the middle of an escape of the event's own.
            if piece.count >= size, piece.reversed().prefix(while: { $0 == "\\" }).count % 2 == 0 {
                pieces.append(piece)
                piece = ""
            }
        }
        pieces.append(piece)
        var events = Upstream.messageStream([])
        events[2] =
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"bash\",\"input\":{}}}\n\n"
        events.insert(
            contentsOf: pieces.map {
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\($0)\"}}\n\n"
            }, at: 3)
        let sent = events
        try await Self.with(Self.redact, Seen.streaming(sent)) { stage, gateway, _ in
            let text = await gateway.call(stage.call(Stage.messages(stream: true))).text()
            var reader = AnswerReader(.messages, streamed: true)
            try reader.feed(ByteBuffer(string: text))
            #expect(
                reader.blocks == [
                    .toolUse(
                        id: "toolu_1", name: "bash", inputJSON: #"{"command":"login \#(Self.removed) now"}"#, isComplete: true)
                ])
            try await Self.quiet(gateway)
            let tools = try await stage.pool.query("SELECT input FROM ai_tool_usages")
            #expect(try tools.map { try $0["input", as: String.self] } == [#"{"command":"login \#(Self.removed) now"}"#])
            #expect(try await Self.findings(stage) == ["tool_input  secret.github_token data/tokens redacted 1"])
        }
    }

    @Test(arguments: [3, 100]) func `answers that are translated are looked into like others`(size: Int) async throws {
        let said = "Your token is \(Self.token), keep it."
        // A Messages client at a provider that speaks Chat Completions.
        try await Self.with(Self.redact, Seen.streaming(Upstream.chatStream(Self.cut(said, size), usage: true))) {
            stage, gateway, _ in
            let answer = await gateway.call(stage.call(Stage.messages(stream: true), provider: "openai", route: "v1/messages"))
            #expect(Self.text(await answer.text(), .messages) == "Your token is \(Self.removed), keep it.")
        }
        try await Self.with(Self.deny, Seen.streaming(Upstream.chatStream(Self.cut(said, size), usage: true))) {
            stage, gateway, _ in
            let answer = await gateway.call(stage.call(Stage.messages(stream: true), provider: "openai", route: "v1/messages"))
            let text = await answer.text()
            #expect(text.contains("permission_error") && text.contains("data/tokens") && !text.contains("0mLq17"))
        }
    }

    @Test(arguments: [2, 100]) func `a Responses stream says nothing in its repetitions either`(size: Int) async throws {
        let said = "Your token is \(Self.token), keep it."
        func event(_ type: String, _ rest: String) -> String { "event: \(type)\ndata: {\"type\":\"\(type)\",\(rest)}\n\n" }
        let part = #"{"type":"output_text","text":"\#(said)","annotations":[]}"#
        let item = #"{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[\#(part)]}"#
        let events =
            [
                event("response.created", #""response":{"id":"resp_1","model":"m","status":"in_progress","output":[]}"#),
                event(
                    "response.output_item.added",
                    #""output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}"#),
            ]
            + Self.cut(said, size).map {
                event("response.output_text.delta", #""item_id":"msg_1","output_index":0,"content_index":0,"delta":"\#($0)""#)
            } + [
                event("response.output_text.done", #""item_id":"msg_1","output_index":0,"content_index":0,"text":"\#(said)""#),
                event("response.content_part.done", #""item_id":"msg_1","output_index":0,"content_index":0,"part":\#(part)"#),
                event("response.output_item.done", #""output_index":0,"item":\#(item)"#),
                event(
                    "response.completed",
                    #""response":{"id":"resp_1","model":"m","status":"completed","output":[\#(item)],"usage":{"input_tokens":10,"output_tokens":5}}"#
                ),
            ]
        try await Self.with(Self.redact, Seen.streaming(events)) { stage, gateway, _ in
            let body = #"{"model":"\#(Stage.model)","stream":true,"input":"hi"}"#
            let text = await gateway.call(stage.call(body, provider: "openai", route: "v1/responses")).text()
            #expect(Self.text(text, .responses) == "Your token is \(Self.removed), keep it.")
            #expect(text.components(separatedBy: Self.removed).count == 6)
            try await Self.quiet(gateway)
            #expect(try await Self.findings(stage) == ["answer  secret.github_token data/tokens redacted 1"])
        }
    }

    // MARK: The rule's text

    @Test(arguments: [
        ("{id: a, effect: deny, resources: {data_classes: secret.github_tokn}}", "did you mean 'secret.github_token'"),
        ("{id: a, effect: deny, resources: {data_classes: pattern.ticket}}", "not among the 'patterns'"),
        ("{id: a, effect: require_approval, resources: {data_classes: '*'}}", "makes no sense"),
        ("{id: a, effect: deny, otherwise: flag, resources: {data_classes: '*'}}", "belongs to the effect 'redact'"),
        ("{id: a, effect: deny, resources: {models: '*', places: prompt}}", "'data_classes' alone"),
        ("{id: a, effect: deny, resources: {data_classes: '*', places: prompts}}", "is no place"),
    ]) func `a rule that would not protect is refused`(rule: String, problem: String) {
        do throws(PolicyFileError) {
            _ = try PolicyReader.read(Self.policy(rule))
            Issue.record("'\(rule)' was taken")
        } catch {
            #expect(error.problems.contains { $0.message.contains(problem) && $0.line == 4 }, "\(error)")
        }
    }
}
