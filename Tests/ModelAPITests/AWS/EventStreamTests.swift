import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct EventStreamTests {
    private static let frames = [
        EventStreamFrame(
            headers: [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
            payload: Array(#"{"bytes":"e30="}"#.utf8)),
        EventStreamFrame(headers: [], payload: []),
        EventStreamFrame(headers: [("", ""), ("ä", String(repeating: "x", count: 300))], payload: [0, 255, 10]),
    ]
    private static let bytes = frames.flatMap(\.encoded)

    private static func decode(_ chunks: [ByteBuffer], limit: Int = EventStreamDecoder.defaultLimit) throws -> [EventStreamFrame] {
        var decoder = EventStreamDecoder(limit: limit)
        return try chunks.flatMap { try decoder.feed($0) }
    }

    /// Computed by another program.
    @Test func `a frame has the bytes that Amazon's format gives it`() {
        #expect(CRC32.checksum("123456789".utf8) == 0xCBF4_3926)
        let hex = Self.frames[0].encoded.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        #expect(
            hex
                == "0000006b0000004b6ace012d0b3a6576656e742d747970650700056368756e6b0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
                + "0d3a6d6573736167652d747970650700056576656e747b226279746573223a226533303d227d3651dbfe")
    }

    @Test func `frames are read wherever the bytes are cut`() throws {
        #expect(try Self.decode([ByteBuffer(bytes: Self.bytes)]) == Self.frames)
        #expect(try Self.decode(Self.bytes.map { ByteBuffer(bytes: [$0]) }) == Self.frames)
        for cut in 0...Self.bytes.count {
            let parts = [ByteBuffer(bytes: Self.bytes[..<cut]), ByteBuffer(bytes: Self.bytes[cut...])]
            #expect(try Self.decode(parts) == Self.frames)
        }
        var decoder = EventStreamDecoder()
        _ = try decoder.feed(ByteBuffer(bytes: Self.bytes.dropLast()))
        #expect(!decoder.isAtBoundary)
        _ = try decoder.feed(ByteBuffer(bytes: Self.bytes.suffix(1)))
        #expect(decoder.isAtBoundary)
    }

    @Test func `every flipped bit is found`() throws {
        let good = Self.frames[0].encoded
        for place in good.indices {
            for bit in 0..<8 {
                var bad = good
                bad[place] ^= 1 << UInt8(bit)
                #expect(throws: AppError.self) { try Self.decode([ByteBuffer(bytes: bad)]) }
            }
        }
    }

    @Test func `lengths that lie are refused before anything is kept`() {
        func prelude(_ total: UInt32, _ headers: UInt32) -> ByteBuffer {
            var buffer = ByteBuffer()
            buffer.writeInteger(total)
            buffer.writeInteger(headers)
            buffer.writeInteger(CRC32.checksum(buffer.readableBytesView))
            return buffer
        }
        for (total, headers) in [(UInt32.max, 0), (15, 0), (0, 0), (16, 1), (100, UInt32.max), (2000, 10)] as [(UInt32, UInt32)] {
            #expect { try Self.decode([prelude(total, headers)], limit: 1000) } throws: {
                ($0 as? AppError)?.code == .upstream && ($0 as? AppError)?.message.contains("damaged") == true
            }
        }
        // Good checksums around headers that are cut, or of an unknown kind.
        for head in [[5, 97], [1, 97, 7, 0, 9, 98], [1, 97, 200], [1, 97, 9, 1]] as [[UInt8]] {
            var buffer = prelude(UInt32(16 + head.count), UInt32(head.count))
            buffer.writeBytes(head)
            buffer.writeInteger(CRC32.checksum(buffer.readableBytesView))
            #expect(throws: AppError.self) { try Self.decode([buffer]) }
        }
    }

    @Test func `headers of every kind are passed over`() throws {
        var head: [UInt8] = []
        for (kind, length) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] as [(UInt8, Int)] {
            head += [1, 97, kind] + [UInt8](repeating: 1, count: length)
        }
        head += [1, 98, 6, 0, 2, 1, 2] + [1, 99, 7, 0, 1, 100]
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(16 + head.count))
        buffer.writeInteger(UInt32(head.count))
        buffer.writeInteger(CRC32.checksum(buffer.readableBytesView))
        buffer.writeBytes(head)
        buffer.writeInteger(CRC32.checksum(buffer.readableBytesView))
        #expect(try Self.decode([buffer]) == [EventStreamFrame(headers: [("c", "d")], payload: [])])
    }

    @Test func `Bedrock's frames are events, exceptions or nothing known`() {
        #expect(BedrockEvent(Self.frames[0]) == .event(Array("{}".utf8)))
        #expect(BedrockEvent(Self.frames[1]) == .other)
        let exception = EventStreamFrame(
            headers: [(":message-type", "exception"), (":exception-type", "throttlingException")],
            payload: Array(#"{"message":"Too many tokens"}"#.utf8))
        #expect(BedrockEvent(exception) == .failed(UpstreamError(type: "throttlingException", message: "Too many tokens")))
        let error = EventStreamFrame(
            headers: [(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "Oh")], payload: [])
        #expect(BedrockEvent(error) == .failed(UpstreamError(type: "InternalFailure", message: "Oh")))
        for payload in ["", "{}", #"{"bytes":"?"}"#, #"{"bytes":5}"#] {
            let broken = EventStreamFrame(headers: Self.frames[0].headers, payload: Array(payload.utf8))
            guard case .failed = BedrockEvent(broken) else {
                Issue.record("\(payload) was read")
                continue
            }
        }
    }

    @Test func `base64 is read and written`() {
        for (plain, coded) in [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy"),
        ] {
            #expect(Base64.encode(Array(plain.utf8)) == coded)
            #expect(Base64.decode(coded.utf8) == Array(plain.utf8))
        }
        for bad in ["Z", "Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm 9"] {
            #expect(Base64.decode(bad.utf8) == nil, "\(bad)")
        }
        let all = (0...255).map { UInt8($0) }
        #expect(Base64.decode(Base64.encode(all).utf8) == all)
    }
}
