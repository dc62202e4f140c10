import NIOCore
import Testing

@testable import ModelAPI

@Suite struct BodyTextsTests {
    private func read(_ json: String) throws -> [String] {
        let body = ByteBuffer(string: json)
        let texts = try BodyTexts(body)
        return texts.texts.map { text in
            let words = body.getString(at: text.range.lowerBound, length: text.range.count) ?? ""
            return "\(texts.path(of: text)) \(texts.place(of: text))\(texts.isSigned(text) ? " signed" : "") \(words)"
        }
    }

    @Test func `texts of a Messages request are found with their places`() throws {
        #expect(
            try read(
                """
                {"model":"m","system":[{"type":"text","text":"S"}],"messages":[{"role":"user","content":"U"},
                 {"role":"assistant","content":[{"type":"thinking","thinking":"T","signature":"sig"},
                   {"type":"tool_use","id":"toolu_1","name":"bash","input":{"command":"C","long_field_name":[1,"D"]}}]},
                 {"role":"user","content":[{"content":[{"text":"R","type":"text"}],"type":"tool_result","tool_use_id":"toolu_1"}]}]}
                """) == [
                    "system[0].text said S", "messages[0].content said U", "messages[1].content[0].thinking said signed T",
                    "messages[1].content[1].name toolInput bash", "messages[1].content[1].input toolInput C",
                    "messages[1].content[1].input toolInput long_field_name", "messages[1].content[1].input toolInput D",
                    "messages[2].content[0].content[0].text toolResult R",
                ])
    }

    @Test func `those of Chat Completions, Responses and Gemini as well`() throws {
        #expect(
            try read(
                """
                {"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":
                 {"name":"f","arguments":"{\\"a\\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"R"}]}
                """) == [
                    "messages[0].tool_calls[0].function.name toolInput f",
                    #"messages[0].tool_calls[0].function.arguments toolInput {\"a\":1}"#, "messages[1].content toolResult R",
                ])
        #expect(
            try read(
                """
                {"model":"m","instructions":"I","input":[{"type":"reasoning","summary":[{"type":"summary_text","text":"T"}],
                 "encrypted_content":"x"},{"type":"function_call","name":"f","arguments":"{}","call_id":"c"},
                 {"type":"function_call_output","call_id":"c","output":"R"}]}
                """) == [
                    "instructions said I", "input[0].summary[0].text said signed T", "input[1].name toolInput f",
                    "input[1].arguments toolInput {}", "input[2].output toolResult R",
                ])
        #expect(
            try read(
                """
                {"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"q":"Q"}},"thoughtSignature":"s"}]},
                 {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"r":"R"}}}]}]}
                """) == [
                    "contents[0].parts[0].functionCall.name toolInput signed f",
                    "contents[0].parts[0].functionCall.args toolInput signed Q",
                    "contents[1].parts[0].functionResponse.name toolResult f",
                    "contents[1].parts[0].functionResponse.response toolResult R",
                ])
    }

    @Test(arguments: ["", "{", #"{"a":}"#, String(repeating: "[", count: 200) + String(repeating: "]", count: 200)])
    func `what is no JSON, or too deep, is refused`(text: String) {
        #expect((try? BodyTexts(ByteBuffer(string: text))) == nil)
    }

    @Test func `a stream is cut into its events, every byte kept`() throws {
        let events = [
            "event: a\ndata: {\"x\":1}\n\n", ": ping\n\ndata: {\"y\":2}\r\n\r\n", "data: a\ndata: b\n\n", "data: [DONE]\n\n",
        ]
        let bytes = Array(events.joined().utf8)
        for size in 1...bytes.count {
            var splitter = EventSplitter()
            var found: [EventSplitter.Event] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                found += try splitter.split(ByteBuffer(bytes: bytes[start..<min(bytes.count, start + size)]))
            }
            let rest = splitter.rest().map { String(buffer: $0.bytes) } ?? ""
            #expect(found.map { String(buffer: $0.bytes) }.joined() + rest == events.joined(), "size \(size)")
            let data = found.map { event in event.data.flatMap { event.bytes.getString(at: $0.lowerBound, length: $0.count) } }
            #expect(data == [#"{"x":1}"#, #"{"y":2}"#, nil, "[DONE]"], "size \(size)")
            #expect(found.count == 4 && found[2].joined == Array("a\nb".utf8))
        }
    }
}
