import FoundationEssentials
import NIOCore

/// JSON as both ends write it: times as milliseconds since 1970, bytes in Base64.
package enum WireJSON {
    package static func encode(_ value: some Encodable) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .millisecondsSince1970
        return ByteBuffer(bytes: try encoder.encode(value))
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: ByteBuffer) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .millisecondsSince1970
        return try decoder.decode(type, from: Data(bytes.readableBytesView))
    }

    /// On one line of ASCII, for a header.
    package static func header(_ value: some Encodable) throws -> String {
        var text = ""
        for unit in String(buffer: try encode(value)).utf16 {
            if unit < 0x80 {
                text.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
            } else {
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return text
    }
}
