import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct BodyEditTests {
    private static func edited(_ text: String) throws -> String? {
        var body = ByteBuffer(string: "xx" + text)
        body.moveReaderIndex(forwardBy: 2)
        let summary = try RequestSummary.read(body, as: .chatCompletions)
        return BodyEdit.includeUsage(summary, in: body).map { String(buffer: $0.apply(to: body)) }
    }

    @Test func `usage is asked for by changing the one field and no other byte`() throws {
        let cases = [
            (#"  {  "model":"m", "stream":true}"#, #"  {"stream_options":{"include_usage":true},  "model":"m", "stream":true}"#),
            (
                #"{"model":"m","stream":true,"stream_options":null}"#,
                #"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
            ),
            (
                #"{"model":"m","stream":true,"stream_options":{ } }"#,
                #"{"model":"m","stream":true,"stream_options":{"include_usage":true } }"#
            ),
            (
                #"{"stream_options":{"include_obfuscation":false},"model":"m","stream":true}"#,
                #"{"stream_options":{"include_usage":true,"include_obfuscation":false},"model":"m","stream":true}"#
            ),
            (
                #"{"stream_options":{"a":1,"include_usage" : false },"model":"é","stream":true}"#,
                #"{"stream_options":{"a":1,"include_usage" : true },"model":"é","stream":true}"#
            ),
            (
                #"{"stream_options":{"include_usage":null},"model":"m","stream":true}"#,
                #"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#
            ),
        ]
        for (body, expected) in cases {
            let result = try Self.edited(body)
            #expect(result == expected)
            #expect(try RequestSummary.read(ByteBuffer(string: expected), as: .chatCompletions).includeUsage == true)
            _ = try JSONSerialization.jsonObject(with: Data(expected.utf8))
        }
    }

    @Test(arguments: [
        #"{"model":"m"}"#, #"{"model":"m","stream":false,"stream_options":null}"#,
        #"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
        #"{"model":"m","stream":true,"stream_options":[]}"#, #"{"model":"m","stream":true,"stream_options":"x"}"#,
    ])
    func `a body that needs no edit, or would be refused anyway, stays as it is`(body: String) throws {
        #expect(try Self.edited(body) == nil)
    }

    // MARK: The limit

    @Test(arguments: [
        // Lowered where it stands, in every field that says one; no other byte.
        (UpstreamFormat.messages, #"{ "max_tokens" : 4000, "x":[1 ] }"#, #"{ "max_tokens" : 1500, "x":[1 ] }"#),
        (
            .chatCompletions, #"{"max_tokens":4000,"max_completion_tokens":9e3}"#,
            #"{"max_tokens":1500,"max_completion_tokens":1500}"#
        ),
        (
            .chatCompletions, #"{"max_tokens":1500,"max_completion_tokens":null}"#,
            #"{"max_tokens":1500,"max_completion_tokens":null}"#
        ),
        (
            .responses, #"{"input":"max_output_tokens","max_output_tokens":1501}"#,
            #"{"input":"max_output_tokens","max_output_tokens":1500}"#
        ),
        (.gemini, #"{"generation_config":{"max_output_tokens":2000}}"#, #"{"generation_config":{"max_output_tokens":1500}}"#),
        (
            .bedrockConverse, #"{"inferenceConfig":{"topP":1,"maxTokens":2000}}"#,
            #"{"inferenceConfig":{"topP":1,"maxTokens":1500}}"#
        ),
        (.bedrockMessages, #"{"max\u005ftokens":2000}"#, #"{"max\u005ftokens":1500}"#),
        // Put in where there is none.
        (.chatCompletions, #"{"model":"m"}"#, #"{"max_tokens":1500,"model":"m"}"#),
        (.responses, #"{"max_output_tokens":null}"#, #"{"max_output_tokens":1500}"#),
        (.gemini, #"{}"#, #"{"generationConfig":{"maxOutputTokens":1500}}"#),
        (.gemini, #"{"generationConfig":{},"a":1}"#, #"{"generationConfig":{"maxOutputTokens":1500},"a":1}"#),
        (.gemini, #"{"generationConfig":null}"#, #"{"generationConfig":{"maxOutputTokens":1500}}"#),
        // Claude thinks below its limit, or not at all.
        (
            .messages, #"{"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":8000}}"#,
            #"{"max_tokens":1500,"thinking":{"type":"enabled","budget_tokens":1024}}"#
        ),
        (
            .messages, #"{"thinking":{"budget_tokens":1200},"max_tokens":9000}"#,
            #"{"thinking":{"budget_tokens":1200},"max_tokens":1500}"#
        ),
        (.messages, "[]", "[]"), (.messages, #"{"max_tokens":"#, #"{"max_tokens":"#),
    ])
    func `the limit of an answer is lowered by changing it and no other byte`(
        format: UpstreamFormat, text: String, expected: String
    ) {
        let body = ByteBuffer(string: text)
        let edits = BodyEdit.outputLimit(1500, in: body, as: format, model: "m")
        #expect(String(buffer: BodyEdit.apply(all: edits, to: body)) == expected)
        // A limit that is no higher stays.
        if expected.contains("1500") {
            #expect(
                BodyEdit.outputLimit(9000, in: body, as: format, model: "m").allSatisfy {
                    !text.contains("4000") || $0.range.isEmpty
                })
        }
    }

    @Test func `a model that reasons is told in its own word`() {
        let body = ByteBuffer(string: #"{"model":"o3"}"#)
        let edits = BodyEdit.outputLimit(300, in: body, as: .chatCompletions, model: "o3")
        #expect(edits.map(\.name) == ["max_completion_tokens"])
        #expect(String(buffer: BodyEdit.apply(all: edits, to: body)) == #"{"max_completion_tokens":300,"model":"o3"}"#)
    }

    // MARK: The filter

    private static let usageEvent =
        Recorded.chatStream.components(separatedBy: "\n\n").first { $0.contains("\"choices\":[],") }! + "\n\n"

    @Test(arguments: ["\n", "\r\n", "\r"])
    func `the usage chunk is taken out wherever the stream is cut, and nothing else`(ending: String) throws {
        func ended(_ text: String) -> [UInt8] {
            Array(text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: ending).utf8)
        }
        let bytes = ended(Recorded.chatStream)
        let expected = ended(Recorded.chatStream.replacing(Self.usageEvent, with: ""))
        #expect(expected.count < bytes.count)
        func filtered(_ chunks: [ByteBuffer]) -> [UInt8] {
            var filter = UsageChunkFilter()
            var output: [UInt8] = []
            for chunk in chunks { output += Array(buffer: filter.filter(chunk)) }
            return output + Array(buffer: filter.finish())
        }
        /// A CRLF cut in two leaves its LF behind: an empty line more, which means nothing.
        func lines(_ bytes: [UInt8]) -> [[UInt8]] { bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).map(Array.init) }
        #expect(filtered([ByteBuffer(bytes: bytes)]) == expected)
        for place in 0...bytes.count {
            let output = filtered([ByteBuffer(bytes: bytes[..<place]), ByteBuffer(bytes: bytes[place...])])
            #expect(ending == "\r\n" ? lines(output) == lines(expected) : output == expected, "cut at \(place)")
        }
        for seed in 0..<200 {
            var random = SeededGenerator(seed: UInt64(seed))
            let output = filtered(bytes.chunks(&random, longest: 1 << (seed % 10)))
            #expect(ending == "\r\n" ? lines(output) == lines(expected) : output == expected, "seed \(seed)")
        }
    }

    @Test func `streams without the chunk pass byte for byte, whatever they are`() {
        for seed in 0..<500 {
            var random = SeededGenerator(seed: UInt64(seed))
            let pieces = [
                "data: ", "{\"choices\":[{}],\"usage\":{}}", "\n", "\n\n", "\r\n", "[DONE]", ":", "{\"choices\":[],\"usage\":null}",
                "{}",
            ]
            let bytes = (0..<Int.random(in: 0...60, using: &random)).flatMap { _ in
                Array(pieces.randomElement(using: &random)!.utf8)
            }
            var filter = UsageChunkFilter()
            var output: [UInt8] = []
            for chunk in bytes.chunks(&random, longest: 30) { output += Array(buffer: filter.filter(chunk)) }
            #expect(output + Array(buffer: filter.finish()) == bytes)
        }
    }

    @Test func `complete events pass at once and only an open one waits`() {
        var filter = UsageChunkFilter()
        #expect(String(buffer: filter.filter(ByteBuffer(string: "data: {}\n\ndata: {\"cho"))) == "data: {}\n\n")
        #expect(String(buffer: filter.filter(ByteBuffer(string: "ices\":[1]}"))) == "")
        #expect(String(buffer: filter.filter(ByteBuffer(string: "\n\n"))) == "data: {\"choices\":[1]}\n\n")
    }

    @Test func `an event too long to be held passes as it comes`() {
        var filter = UsageChunkFilter()
        let piece = ByteBuffer(string: "data: " + String(repeating: "x", count: 50 << 10))
        #expect(filter.filter(piece).readableBytes == 0)
        #expect(filter.filter(piece).readableBytes == 2 * piece.readableBytes)
        #expect(filter.filter(piece).readableBytes == piece.readableBytes)
        #expect(
            String(buffer: filter.filter(ByteBuffer(string: "\n\n" + Self.usageEvent + "data: [DONE]\n\n")))
                == "\n\ndata: [DONE]\n\n")
    }
}

extension Array<UInt8> {
    init(buffer: ByteBuffer) { self = Array(buffer.readableBytesView) }
}
