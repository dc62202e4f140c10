import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct SSEParserTests {
    private static func events(_ chunks: [ByteBuffer]) throws -> [SSEEvent] {
        var parser = SSEParser()
        var events: [SSEEvent] = []
        for chunk in chunks { events += try parser.feed(chunk) }
        return events
    }

    private static func events(_ text: String) throws -> [SSEEvent] { try events([ByteBuffer(string: text)]) }

    @Test func `an event has the name and the data that the standard gives it`() throws {
        #expect(try Self.events("event: a\ndata: 1\n\n") == [SSEEvent(name: "a", data: "1")])
        #expect(try Self.events("data:1\n\n") == [SSEEvent(name: nil, data: "1")])
        #expect(try Self.events("data:  1\n\n") == [SSEEvent(name: nil, data: " 1")])
        #expect(try Self.events("data: a\ndata: b\ndata\n\n") == [SSEEvent(name: nil, data: "a\nb\n")])
        #expect(try Self.events("data\n\n") == [SSEEvent(name: nil, data: "")])
        #expect(
            try Self.events(": comment\nid: 3\nretry: 10\ndatax: no\nevent: lonely\n\ndata: 1\n\n") == [
                SSEEvent(name: nil, data: "1")
            ])
        #expect(try Self.events("\u{FEFF}data: 1\n\n\u{FEFF}data: 2\n\n") == [SSEEvent(name: nil, data: "1")])
        #expect(try Self.events("data: unfinished\n") == [])
    }

    @Test func `any line ending and every place to cut the stream give the same events`() throws {
        let lines = "event: a\ndata: 1\ndata: 2\n\n: c\n\ndata: {\"x\":1}\n\nevent: b\ndata: 3\n\n"
        let expected = [SSEEvent(name: "a", data: "1\n2"), SSEEvent(name: nil, data: "{\"x\":1}"), SSEEvent(name: "b", data: "3")]
        for ending in ["\n", "\r", "\r\n"] {
            let bytes = Array(lines.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: ending).utf8)
            for first in 0...bytes.count {
                for second in first...bytes.count {
                    let chunks = [bytes[..<first], bytes[first..<second], bytes[second...]].map { ByteBuffer(bytes: $0) }
                    #expect(try Self.events(chunks) == expected, "\(ending.debugDescription) cut at \(first) and \(second)")
                }
            }
        }
    }

    /// The standard, word for word, over the whole text at once.
    private static func standard(_ text: [UInt8]) -> [SSEEvent] {
        var lines: [[UInt8]] = [[]]
        var position = 0
        while position < text.count {
            switch text[position] {
            case 0x0D:
                if position + 1 < text.count, text[position + 1] == 0x0A { position += 1 }
                lines.append([])
            case 0x0A: lines.append([])
            case let byte: lines[lines.count - 1].append(byte)
            }
            position += 1
        }
        lines.removeLast()
        var events: [SSEEvent] = []
        var data: [UInt8]?
        var name: String?
        for line in lines {
            if line.isEmpty {
                if let data { events.append(SSEEvent(name: name, data: String(decoding: data, as: UTF8.self))) }
                data = nil
                name = nil
                continue
            }
            let colon = line.firstIndex(of: UInt8(ascii: ":"))
            let field = line[..<(colon ?? line.count)]
            var value = colon.map { line[($0 + 1)...] } ?? []
            if value.first == 0x20 { value = value.dropFirst() }
            if field.elementsEqual("data".utf8) {
                data = data.map { $0 + [0x0A] + value } ?? Array(value)
            } else if field.elementsEqual("event".utf8) {
                name = String(decoding: value, as: UTF8.self)
            }
        }
        return events
    }

    @Test func `random streams in random chunks are read as the standard says`() throws {
        let pieces = [
            "data", "data:", "data: ", "event: n", "event:", ":", "x", " ", "\n", "\r", "\r\n", "\n\n", "é", "data: [DONE]\n\n",
            "\u{FEFF}",
        ]
        for seed in 0..<3000 {
            var random = SeededGenerator(seed: UInt64(seed))
            // The byte order mark is only special at the start, which the simple reading above leaves out.
            var text: [UInt8] = Array(":".utf8)
            for _ in 0..<Int.random(in: 0...40, using: &random) { text += Array(pieces.randomElement(using: &random)!.utf8) }
            let chunks = text.chunks(&random, longest: 7)
            #expect(
                try Self.events(chunks) == Self.standard(text),
                "seed \(seed): \(String(decoding: text, as: UTF8.self).debugDescription)")
        }
    }

    @Test func `an event longer than the limit is refused and says so, whatever its chunks`() throws {
        for chunk in [7, 100, 5000] {
            var parser = SSEParser(limit: 1000)
            #expect(throws: AppError.self) {
                for _ in 0..<(5000 / chunk) { _ = try parser.feed(ByteBuffer(string: String(repeating: "d", count: chunk))) }
            }
            var lines = SSEParser(limit: 1000)
            #expect(throws: AppError.self) {
                for _ in 0..<3000 { _ = try lines.feed(ByteBuffer(string: "data: x\n")) }
            }
        }
        var parser = SSEParser(limit: 1000)
        for _ in 0..<3000 {
            #expect(try parser.feed(ByteBuffer(string: "data: \(String(repeating: "d", count: 900))\n\n")).count == 1)
        }
    }

    @Test func `the boundary is where something may be put between two events`() throws {
        let bytes = Array(Recorded.messagesStream.utf8)
        let ends = Set((1...bytes.count).filter { bytes[..<$0].suffix(2) == [0x0A, 0x0A] })
        var parser = SSEParser()
        for (position, byte) in bytes.enumerated() {
            _ = try parser.feed(ByteBuffer(bytes: [byte]))
            // The extra line at the end is a boundary as well.
            #expect((parser.bytesSinceBoundary == 0) == (ends.contains(position + 1)), "after byte \(position)")
        }
    }

    @Test func `an end without its blank line still gives the last event`() throws {
        for end in ["", "\n", "\r\n"] {
            var parser = SSEParser()
            #expect(try parser.feed(ByteBuffer(string: "data: a\n\ndata: [DONE]" + end)).count == 1)
            #expect(parser.finish() == SSEEvent(name: nil, data: "[DONE]"))
            #expect(parser.finish() == nil)
        }
    }

    @Test(.timeLimit(.minutes(1))) func `a megabyte of single bytes or of bare returns takes linear time`() throws {
        var parser = SSEParser()
        for _ in 0..<100_000 { _ = try parser.feed(ByteBuffer(string: "x")) }
        _ = try parser.feed(ByteBuffer(string: String(repeating: "\r", count: 4 << 20)))
        _ = try parser.feed(ByteBuffer(string: String(repeating: "\n\r", count: 2 << 20)))
    }
}
