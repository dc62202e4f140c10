import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct HostileRequestTests {
    private static let refused: [(ModelProtocol, String, String)] = [
        (.messages, #"{"model":"m","messages":5}"#, "messages"),
        (.messages, #"{"model":5,"messages":[]}"#, "model"), (.messages, #"{"messages":[]}"#, "model"),
        (.messages, #"{"model":"m"}"#, "messages"),
        (
            .messages, #"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":["x"]}]}]}"#,
            "messages[0].content[0].text"
        ),
        (.messages, #"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#, "messages[0].role"),
        (.messages, #"{"model":"m","max_tokens":1e99,"messages":[]}"#, "max_tokens"),
        (.messages, #"{"model":"m","max_tokens":-1,"messages":[]}"#, "max_tokens"),
        (.messages, #"{"model":"m","temperature":1e999,"messages":[]}"#, "temperature"),
        (.messages, #"{"model":"m","temperature":"hot","messages":[]}"#, "temperature"),
        (.messages, #"{"model":"m","messages":[{"role":"user","role":"user","content":"x"}]}"#, "messages[0].role"),
        (
            .messages,
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#,
            "messages[0].content[0].source.file_id"
        ),
        (
            .messages,
            #"{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"b","input":[]}]}]}"#,
            "messages[0].content[0].input"
        ),
        (.messages, #"{"model":"m","tools":[{"input_schema":{}}],"messages":[]}"#, "tools[0].name"),
        (.chatCompletions, #"{"model":"m","messages":[{"role":"function","content":"x"}]}"#, "messages[0].role"),
        (.chatCompletions, #"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#, "messages[0].tool_call_id"),
        (.chatCompletions, #"{"model":"m","tool_choice":"maybe","messages":[]}"#, "tool_choice"),
        (
            .chatCompletions, #"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}]}"#,
            "messages[0].tool_calls[0].function"
        ),
        (
            .chatCompletions, #"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}"#,
            "messages[0].content[0].file_id"
        ),
        (.responses, #"{"model":"m","input":[],"previous_response_id":"r"}"#, "previous_response_id"),
        (.responses, #"{"model":"m","input":[],"background":true}"#, "background"),
        (.responses, #"{"model":"m","input":[{"type":"item_reference","id":"r"}]}"#, "input[0]"),
        (.responses, #"{"model":"m","input":{"a":1}}"#, "input"),
        (.gemini, #"{"model":"m"}"#, "model"),
    ]

    @Test(arguments: refused) func `a wrong request is refused by the name of its field`(_ example: (ModelProtocol, String, String))
    {
        let (api, body, field) = example
        do throws(AppError) {
            _ = try ClientRequest.read(ByteBuffer(string: body), as: api)
            Issue.record("was read: \(body)")
        } catch {
            #expect(
                error.code == .badRequest && error.field == field && error.message.contains("\"\(field)\"") || api == .gemini,
                "\(error)")
        }
    }

    @Test func `texts that are no UTF-8 and documents too deep are refused`() throws {
        var body = ByteBuffer(string: #"{"model":"m","messages":[{"role":"user","content":"a"#)
        body.writeBytes([0xFF, 0xFE])
        body.writeString(#""}]}"#)
        #expect { try ClientRequest.read(body, as: .messages) } throws: { ($0 as? AppError)?.field == "messages[0].content" }
        let deep = String(repeating: "[", count: 5000)
        for text in [
            #"{"model":"m","x":\#(deep)"#, #"{"model":"m","messages":\#(deep)\#(String(repeating: "]", count: 5000))}"#, "", "[]",
            "{", "null",
        ] {
            #expect(throws: AppError.self) { try ClientRequest.read(ByteBuffer(string: text), as: .messages) }
        }
        // Half of a pair, escaped, is a client's slip and becomes the replacement character.
        let lone = try ClientRequest.read(
            ByteBuffer(string: #"{"model":"m","messages":[{"role":"user","content":"a\ud83d"}]}"#), as: .messages)
        #expect(
            lone.conversation.messages == [.user("a\u{FFFD}\u{FFFD}\u{FFFD}")] || lone.conversation.messages == [.user("a\u{FFFD}")]
        )
    }

    @Test(arguments: 0..<4) func `mutated requests are translated or refused with a field, never worse`(part: Int) {
        var translated = 0
        for seed in part * 500..<part * 500 + 500 {
            var random = SeededGenerator(seed: UInt64(seed))
            let client = TranslatedRequests.clients[seed % 3]
            let bytes = HostileBytesTests.mutate(Array(TranslatedRequests.body(client).readableBytesView), &random)
            do throws(AppError) {
                let request = try ClientRequest.read(ByteBuffer(bytes: bytes), as: client)
                for format in UpstreamFormat.allCases {
                    let upstream = try request.encode(for: format, model: RequestMatrixTests.model(format))
                    upstream.body.withUnsafeReadableBytes { #expect(JSONCursor.isObject($0), "seed \(seed)") }
                    #expect(upstream.losses.headerValue?.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ?? true)
                    translated += 1
                }
            } catch {
                #expect(error.code == .badRequest && !error.message.isEmpty, "seed \(seed)")
            }
        }
        #expect(translated > 50)
    }
}
