import Foundation

/// Amazon's event stream, from its description: lengths, headers, payload, and both checksums.
enum AmazonFrame {
    /// An event of `InvokeModelWithResponseStream`.
    static func chunk(_ event: String) -> [UInt8] {
        self.event("chunk", #"{"bytes":"\#(Data(event.utf8).base64EncodedString())"}"#)
    }

    static func event(_ type: String, _ payload: String) -> [UInt8] {
        frame([(":event-type", type), (":content-type", "application/json"), (":message-type", "event")], payload)
    }

    static func exception(_ type: String, _ payload: String) -> [UInt8] {
        frame([(":exception-type", type), (":content-type", "application/json"), (":message-type", "exception")], payload)
    }

    private static func frame(_ fields: [(String, String)], _ text: String) -> [UInt8] {
        let payload = Array(text.utf8)
        var headers: [UInt8] = []
        for (name, value) in fields {
            headers += [UInt8(name.utf8.count)] + Array(name.utf8) + [7, 0, UInt8(value.utf8.count)] + Array(value.utf8)
        }
        var frame = big(UInt32(16 + headers.count + payload.count)) + big(UInt32(headers.count))
        frame += big(crc(frame))
        frame += headers + payload
        return frame + big(crc(frame))
    }

    private static func big(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

    private static func crc(_ bytes: [UInt8]) -> UInt32 {
        var sum = ~UInt32(0)
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? (sum >> 1) ^ 0xEDB8_8320 : sum >> 1 }
        }
        return ~sum
    }
}
