import Core
import NIOCore
import Testing

@testable import ModelAPI

/// Whatever bytes come, nothing traps, memory stays bounded and no broken call looks like one that may run.
@Suite struct HostileBytesTests {
    private static let sources: [(ModelProtocol, Bool, [UInt8])] = ModelProtocol.allCases.flatMap { api in
        [(api, true, Array(Recorded.stream(api).utf8)), (api, false, Array(Recorded.plain(api).utf8))]
    }

    /// Flips, cuts, doubles and mixes in what parsers stumble over.
    static func mutate(_ original: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = original
        let traps: [String] = [
            "\"", "\\", "{", "}", "[", "]", ":", ",", "\n", "\n\n", "\r", "null", "-1", "1e309", "99999999999999999999", "\\u",
            "\\ud83d", "\u{0}", "data: ",
            "\"index\":-9223372036854775808", "\"index\":1000000", "{\"error\":{}}", "\"usage\":[]", "\"content\":[[]]", "[DONE]",
        ]
        for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            let end = min(bytes.count, place + Int.random(in: 1...60, using: &random))
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.removeSubrange(place..<end)
            case 2: bytes.insert(contentsOf: Array(bytes[place..<end]), at: Int.random(in: 0...bytes.count, using: &random))
            case 3: bytes.insert(contentsOf: Array(traps.randomElement(using: &random)!.utf8), at: place)
            case 4: bytes.replaceSubrange(place..<end, with: Array(traps.randomElement(using: &random)!.utf8))
            default: bytes.removeSubrange(place...)
            }
        }
        return bytes
    }

    @Test(arguments: 0..<8) func `mutated answers are read without harm and the same however they are cut`(part: Int) throws {
        for seed in part * 400..<part * 400 + 400 {
            var random = SeededGenerator(seed: UInt64(seed))
            let (api, streamed, original) = Self.sources[seed % 8]
            let bytes = Self.mutate(original, &random)
            let whole = try Reading(api, streamed: streamed, [ByteBuffer(bytes: bytes)])
            let cut = try Reading(api, streamed: streamed, bytes.chunks(&random, longest: 50))
            #expect(whole == cut, "seed \(seed)")
            for case .toolUse(_, _, let input, true) in whole.blocks { #expect(JSONCursor.isObject(input), "seed \(seed)") }
            if let usage = whole.usage {
                for count in [
                    usage.input, usage.cacheRead, usage.cacheWrite5m, usage.cacheWrite1h, usage.output, usage.webSearches,
                ] { #expect(count >= 0) }
                #expect(usage.reasoning <= usage.output)
            }
            if whole.isComplete { #expect(whole.error == nil) }
            // Whatever was read can be sent again and is JSON.
            let conversation = Conversation(
                model: "m", system: "", messages: [.user("a"), .assistant(whole.blocks)], maxOutputTokens: 1)
            for api in ModelProtocol.allCases {
                let body = conversation.encode(as: api, stream: false)
                #expect(throws: Never.self) { try RequestSummary.read(body, as: api, path: "models/m:generateContent") }
            }
            if streamed {
                var reader = AnswerReader(api, streamed: true)
                try reader.feed(ByteBuffer(bytes: bytes))
                try reader.feed(ByteBuffer(string: "\n\n"))
                if reader.error == nil, reader.isStarted {
                    try reader.feed(ErrorShape.cutEnd(reader, reason: "x", requestID: "r"))
                    #expect(reader.isComplete, "seed \(seed)")
                }
            }
        }
    }

    @Test func `mutated requests are read or refused with a reason, and never misread`() {
        let originals = [
            #"{"model":"m","max_tokens":5,"stream":true,"metadata":{"user_id":"u"},"tools":[{"name":"a","input_schema":{}}],"messages":[{"role":"user","content":[{"type":"text","text":"q \"x\""},{"type":"tool_result","tool_use_id":"t","content":"c"}]}]}"#,
            #"{"messages":[{"role":"tool","tool_call_id":"c","content":"x"}],"model":"m","n":2,"max_completion_tokens":7,"stream":true,"stream_options":{"include_usage":false}}"#,
            #"{"model":"m","max_output_tokens":5,"stream":true,"tools":[{"type":"function","name":"a"}],"input":[{"role":"user","content":[{"type":"input_text","text":"q"}]},{"type":"function_call_output","call_id":"c","output":"r"}]}"#,
            #"{"contents":[{"role":"user","parts":[{"text":"q"},{"functionResponse":{"name":"f","response":{}}}]}],"generationConfig":{"maxOutputTokens":5}}"#,
        ]
        var read = 0
        for seed in 0..<8000 {
            var random = SeededGenerator(seed: UInt64(seed))
            let bytes = Self.mutate(Array(originals[seed % 4].utf8), &random)
            let api = ModelProtocol.allCases[seed % 4]
            do throws(AppError) {
                let body = ByteBuffer(bytes: bytes)
                let summary = try RequestSummary.read(body, as: api, path: "models/m:generateContent")
                read += 1
                #expect(!summary.model.isEmpty)
                for range in summary.messageRanges {
                    #expect(bytes[range].first == UInt8(ascii: "{") && bytes[range].last == UInt8(ascii: "}"))
                }
                if api == .chatCompletions, let edit = BodyEdit.includeUsage(summary, in: body) {
                    let edited = try RequestSummary.read(edit.apply(to: body), as: api)
                    #expect(
                        edited.includeUsage == true && edited.model == summary.model
                            && edited.messageRanges.count == summary.messageRanges.count)
                }
            } catch {
                #expect(error.code == .badRequest && !error.message.isEmpty, "seed \(seed)")
            }
        }
        #expect(read > 200)
    }

    @Test func `random bytes are no answer and do no harm`() throws {
        for seed in 0..<500 {
            var random = SeededGenerator(seed: UInt64(seed))
            let bytes = (0..<Int.random(in: 0...2000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            for (api, streamed, _) in Self.sources {
                #expect(try !Reading(api, streamed: streamed, [ByteBuffer(bytes: bytes)]).isComplete)
            }
            _ = UpstreamError.read(ByteBuffer(bytes: bytes))
        }
    }

    @Test(.timeLimit(.minutes(1))) func `bodies made to be slow are not`() throws {
        let slow = [
            String(repeating: "\\\"", count: 1 << 17), String(repeating: "\\\\", count: 1 << 17),
            String(repeating: "[", count: 1 << 17),
            String(repeating: "{\"a\":[", count: 1 << 16), String(repeating: "\"\",", count: 1 << 17),
            String(repeating: "\\ud83d", count: 1 << 16),
        ]
        for text in slow {
            _ = try? RequestSummary.read(ByteBuffer(string: "{\"model\":\"m\",\"x\":\"\(text)\"}"), as: .messages)
            _ = try? RequestSummary.read(
                ByteBuffer(string: "{\"model\":\"m\",\"messages\":[{\"content\":[\(text)]}]}"), as: .messages)
            _ = try Reading(.messages, "data: {\"type\":\"content_block_delta\",\"delta\":\(text)}\n\n")
            _ = try Reading(.chatCompletions, streamed: false, "{\"choices\":[{\"message\":{\"content\":\"\(text)\"}}]}")
        }
    }
}
