/// One message of `application/vnd.amazon.eventstream`: total length, length of the headers, CRC of these two, headers, payload,
/// CRC of everything before it; all numbers with the highest byte first.
package struct EventStreamFrame: Sendable, Equatable {
    /// Headers that are texts, in order; others (numbers, times, ids) are checked and left out: Bedrock sends none that matter.
    package var headers: [(name: String, value: String)]
    package var payload: [UInt8]

    package init(headers: [(name: String, value: String)], payload: [UInt8]) {
        self.headers = headers
        self.payload = payload
    }

    package static func == (a: Self, b: Self) -> Bool {
        a.payload == b.payload && a.headers.elementsEqual(b.headers) { $0 == $1 }
    }

    package subscript(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The bytes of the frame. Names must have 1 to 255 bytes, values at most 65,535.
    package var encoded: [UInt8] {
        var head: [UInt8] = []
        for (name, value) in headers {
            head.append(UInt8(clamping: name.utf8.count))
            head += Array(name.utf8.prefix(255))
            head.append(Self.text)
            head.append(UInt8(truncatingIfNeeded: value.utf8.count >> 8))
            head.append(UInt8(truncatingIfNeeded: value.utf8.count))
            head += Array(value.utf8)
        }
        var bytes: [UInt8] = []
        Self.append(UInt32(head.count + payload.count + 16), to: &bytes)
        Self.append(UInt32(head.count), to: &bytes)
        Self.append(CRC32.checksum(bytes), to: &bytes)
        bytes += head
        bytes += payload
        Self.append(CRC32.checksum(bytes), to: &bytes)
        return bytes
    }

    static let text: UInt8 = 7

    private static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}
