import Core
import DemoModel
import Foundation
import HTTPTransport
import ModelAPI
import NIOCore
import Testing

/// Both protocols as providers speak them: shapes, usage, limits, errors and faults.
@Suite(.timeLimit(.minutes(1)))
struct ProtocolTests {
    private func conversation(_ text: String, limit: TokenCount = 4096) -> Conversation {
        Conversation(model: ScenarioLibrary.model, system: "", messages: [.user(text)], maxOutputTokens: limit)
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions])
    func `streamed and whole answers say and count the same`(kind: ModelProtocol) async throws {
        try await Client.with { client in
            for text in [
                "hello", "demo: thinking", "demo: parallel tools", "demo: unknown parts", "demo: empty answer", "no such script",
            ] {
                let streamed = try await client.ask(conversation(text), kind)
                let whole = try await client.ask(conversation(text), kind, stream: false)
                #expect(streamed.reader.text == whole.reader.text)
                #expect(streamed.reader.stopReason == whole.reader.stopReason)
                #expect(streamed.reader.usage == whole.reader.usage)
                #expect(streamed.reader.blocks.count == whole.reader.blocks.count)
                #expect(streamed.reader.isComplete && whole.reader.isComplete)
                let usage = try #require(whole.reader.usage)
                #expect(usage.totalInput > 0 && usage.output > 0)
            }
        }
    }

    @Test func `output tokens are a quarter of the bytes`() async throws {
        try await Client.with { client in
            let answer = try await client.ask(conversation("demo: ping"))
            #expect(answer.reader.text == "Scripted pong.")
            #expect(answer.reader.usage?.output == 4)
        }
    }

    @Test func `a second request reads the prefix from the cache, in disjoint classes`() async throws {
        try await Client.with { client in
            var conversation = conversation("demo: thinking")
            conversation.system = String(repeating: "A long system prompt. ", count: 400)
            let first = try await client.ask(conversation)
            let firstUsage = try #require(first.reader.usage)
            #expect(firstUsage.cacheRead == 0 && firstUsage.cacheWrite5m > 2000)
            conversation.messages.append(.assistant(first.reader.blocks))
            conversation.messages.append(
                Message(
                    role: .user,
                    content: first.reader.blocks.compactMap {
                        guard case .toolUse(let id, _, _, _) = $0 else { return nil }
                        return .toolResult(id: id, text: "files", isError: false)
                    }))
            let second = try await client.ask(conversation)
            let usage = try #require(second.reader.usage)
            #expect(usage.cacheRead == firstUsage.totalInput)
            #expect(usage.cacheWrite5m > 0 && usage.input == 4)
        }
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions])
    func `an answer longer than the limit is cut there`(kind: ModelProtocol) async throws {
        try await Client.with { client in
            let answer = try await client.ask(conversation("demo: long stream", limit: 10), kind)
            #expect(answer.reader.stopReason == .maxTokens)
            #expect(answer.reader.text.utf8.count == 40)
            #expect(answer.reader.usage?.output == 10)
        }
    }

    @Test func `a cut call arrives cut in the stream`() async throws {
        try await Client.with { client in
            let answer = try await client.ask(conversation("demo: cut arguments"))
            #expect(answer.reader.stopReason == .maxTokens)
            guard case .toolUse(_, "write_file", let input, _)? = answer.reader.blocks.last else {
                Issue.record("no call of write_file")
                return
            }
            #expect(input.hasSuffix("this is where the toke"))
        }
    }

    @Test func `an empty answer is followed by a good one once it was noticed`() async throws {
        try await Client.with { client in
            var conversation = conversation("demo: empty once")
            let empty = try await client.ask(conversation)
            #expect(empty.reader.blocks.isEmpty && empty.reader.stopReason == .endTurn)
            conversation.messages.append(.user("[Your last answer was empty. Go on.]"))
            let good = try await client.ask(conversation)
            #expect(good.reader.text.hasPrefix("Say nothing, then something"))
        }
    }

    @Test func `words beside tool results are heard, in either protocol`() async throws {
        try await Client.with { client in
            for kind in [ModelProtocol.messages, .chatCompletions] {
                var conversation = conversation("demo: steps")
                let call = try await client.ask(conversation, kind)
                conversation.messages.append(.assistant(call.reader.blocks))
                guard case .toolUse(let id, _, _, _)? = call.reader.blocks.last else {
                    Issue.record("no call")
                    return
                }
                let result = ContentBlock.toolResult(id: id, text: "1", isError: false)
                conversation.messages.append(Message(role: .user, content: [result, .text("Stop that. demo: ping")]))
                let answer = try await client.ask(conversation, kind)
                #expect(answer.reader.text == "Scripted pong.")
            }
        }
    }

    @Test func `a thinking block that was changed is refused`() async throws {
        try await Client.with { client in
            var conversation = conversation("demo: thinking")
            conversation.messages.append(.assistant([.thinking(text: "forged", signature: "bm9wZQ=="), .text("x")]))
            conversation.messages.append(.user("go on"))
            let answer = try await client.ask(conversation)
            #expect(answer.status == 400)
            #expect(answer.body.text.contains("Invalid `signature` in `thinking` block"))
        }
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions])
    func `a call without its result is refused`(kind: ModelProtocol) async throws {
        try await Client.with { client in
            var conversation = conversation("demo: steps")
            conversation.messages.append(.assistant([.toolUse(id: "lost_1", name: "execute", inputJSON: "{}", isComplete: true)]))
            conversation.messages.append(.user("go on"))
            let answer = try await client.ask(conversation, kind)
            #expect(answer.status == 400)
            #expect(answer.body.text.contains("lost_1"))
        }
    }

    @Test(arguments: [(429, "rate_limit_error"), (529, "overloaded_error"), (500, "api_error"), (401, "authentication_error")])
    func `errors come on demand in the shape of each protocol`(status: Int, type: String) async throws {
        try await Client.with { client in
            let messages = try await client.ask(conversation("demo: error \(status)"))
            #expect(messages.status == status)
            #expect(messages.json["type"] as? String == "error")
            #expect((messages.json["error"] as? [String: Any])?["type"] as? String == type)
            let chat = try await client.ask(conversation("demo: error \(status)"), .chatCompletions)
            #expect(chat.status == status)
            #expect((chat.json["error"] as? [String: Any])?["message"] is String)
            #expect(messages.header("retry-after") == (status == 429 ? "1" : nil))
        }
    }

    @Test(arguments: [ModelProtocol.messages, .chatCompletions])
    func `an error in mid-stream follows some text`(kind: ModelProtocol) async throws {
        try await Client.with { client in
            let answer = try await client.ask(conversation("demo: stream error"), kind)
            #expect(answer.status == 200)
            #expect(answer.reader.text.hasPrefix("This scripted"))
            #expect(answer.reader.error?.message == "scripted overload in mid-stream")
        }
    }

    @Test(arguments: [true, false])
    func `a cut connection is an error of the transport`(stream: Bool) async throws {
        try await Client.with { client in
            let request = client.request("/v1/messages", conversation("demo: cut").encode(as: .messages, stream: stream))
            let response = try await client.transport.send(request)
            #expect(response.status == 200)
            await #expect(throws: AppError.self) { _ = try await response.body.collect(upTo: 1 << 20) }
        }
    }

    @Test func `a stall sends some text and then nothing`() async throws {
        try await Client.with { client in
            var request = client.request("/v1/messages", conversation("demo: stall").encode(as: .messages, stream: true))
            request.timeouts.idle = .milliseconds(200)
            var received = ByteBuffer()
            do {
                for try await var piece in try await client.transport.send(request).body { received.writeBuffer(&piece) }
                Issue.record("the stream ended")
            } catch let error as AppError {
                #expect(error.code == .timeout)
            }
            #expect(received.text.contains("content_block_delta"))
        }
    }

    @Test(arguments: [true, false])
    func `silence never begins to answer`(stream: Bool) async throws {
        try await Client.with { client in
            var request = client.request("/v1/messages", conversation("demo: silence").encode(as: .messages, stream: stream))
            request.timeouts.firstByte = .milliseconds(200)
            do {
                _ = try await client.transport.send(request)
                Issue.record("an answer came")
            } catch let error as AppError {
                #expect(error.code == .timeout)
            }
        }
    }

    @Test(arguments: ["/v1/messages", "/v1/chat/completions"])
    func `what a provider refuses is refused`(path: String) async throws {
        try await Client.with { client in
            func status(_ body: String, headers: [(name: String, value: String)] = [("authorization", "Bearer k")]) async throws
                -> Int
            {
                let response = try await client.transport.send(client.request(path, ByteBuffer(string: body), headers: headers))
                let text = try await response.body.collect(upTo: 1 << 20)
                #expect(text.text.contains("\"error\""))
                return response.status
            }
            let valid = #"{"model":"demo-scripted","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#
            let cases = [
                ("{", 400), ("[]", 400), (valid.replacingOccurrences(of: "demo-scripted", with: "gpt-99"), 404),
                (#"{"model":"demo-scripted","max_tokens":1,"messages":[]}"#, 400),
                (#"{"model":"demo-scripted","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}"#, 400),
            ]
            for (body, expected) in cases {
                let got = try await status(body)
                #expect(got == expected, "\(body)")
            }
            let withoutKey = try await status(valid, headers: [])
            #expect(withoutKey == 401)
        }
    }

    @Test func `models are listed in the shape that the caller asks for, and none claims to be an AI`() async throws {
        try await Client.with { client in
            func get(_ path: String, _ headers: [(name: String, value: String)]) async throws -> [String: Any] {
                let body = try await client.transport.send(client.request(path, headers: headers)).body.collect(upTo: 1 << 20)
                return try #require(try JSONSerialization.jsonObject(with: Data(buffer: body)) as? [String: Any])
            }
            let anthropic = try await get("/v1/models", [("anthropic-version", "2023-06-01")])
            let entries = try #require(anthropic["data"] as? [[String: Any]])
            #expect(entries.first?["id"] as? String == "demo-scripted")
            #expect(entries.allSatisfy { ($0["display_name"] as? String)?.lowercased().contains("scripted") == true })
            let openai = try await get("/v1/models", [])
            #expect(openai["object"] as? String == "list")
            #expect((openai["data"] as? [[String: Any]])?.count == entries.count)
            #expect(try await get("/v1/models/demo-scripted", [])["object"] as? String == "model")
        }
    }

    @Test func `counted tokens are those that the answer's usage names`() async throws {
        try await Client.with { client in
            let body = conversation("demo: ping").encode(as: .messages, stream: false)
            let counted = try await client.transport.send(client.request("/v1/messages/count_tokens", body)).body.collect(
                upTo: 1000)
            let answer = try await client.ask(conversation("demo: ping"), stream: false)
            let total = try #require(answer.reader.usage?.totalInput)
            #expect(counted.text == #"{"input_tokens":\#(total)}"#)
        }
    }
}

extension ByteBuffer {
    var text: String { String(buffer: self) }
}
