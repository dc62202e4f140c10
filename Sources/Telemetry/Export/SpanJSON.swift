/// Spans as OTLP's `ExportTraceServiceRequest` in its JSON form: ids in hexadecimal, 64-bit numbers as text, enumerations as numbers
/// (opentelemetry-proto, "JSON Protobuf Encoding").
struct SpanJSON {
    private(set) var bytes: [UInt8] = []

    /// - Parameter resource: what all spans of this process have in common.
    static func request(_ spans: [Span], resource: [(key: String, value: String)], version: String) -> [UInt8] {
        var json = SpanJSON()
        json.bytes.reserveCapacity(spans.count * 900 + 512)
        json.raw("{\"resourceSpans\":[{\"resource\":{\"attributes\":[")
        json.list(resource) { $0.attribute($1.key, .string($1.value)) }
        json.raw("]},\"scopeSpans\":[{\"scope\":{\"name\":\"slipway\",\"version\":")
        json.text(version)
        json.raw("},\"spans\":[")
        json.list(spans) { $0.span($1) }
        json.raw("]}]}]}")
        return json.bytes
    }

    private mutating func span(_ span: Span) {
        raw("{\"traceId\":\"\(span.context.traceID)\",\"spanId\":\"\(span.context.spanID)\"")
        if let parent = span.parent { raw(",\"parentSpanId\":\"\(TraceContext.hex(parent))\"") }
        raw(",\"flags\":1,\"name\":")
        text(span.name)
        raw(",\"kind\":\(span.kind.rawValue),\"startTimeUnixNano\":\"\(span.began)\",\"endTimeUnixNano\":\"\(span.ended)\"")
        raw(",\"attributes\":[")
        list(span.attributes) { $0.attribute($1.key, $1.value) }
        raw("]")
        if let failure = span.failure {
            raw(",\"status\":{\"code\":2,\"message\":")
            text(failure)
            raw("}")
        }
        raw("}")
    }

    private mutating func attribute(_ key: String, _ value: Span.Value) {
        raw("{\"key\":")
        text(key)
        raw(",\"value\":")
        self.value(value)
        raw("}")
    }

    private mutating func value(_ value: Span.Value) {
        switch value {
        case .string(let text):
            raw("{\"stringValue\":")
            self.text(text)
        case .int(let number): raw("{\"intValue\":\"\(number)\"")
        // JSON has no infinity.
        case .double(let number): raw("{\"doubleValue\":\(number.isFinite ? number : 0)")
        case .bool(let truth): raw("{\"boolValue\":\(truth)")
        case .strings(let texts):
            raw("{\"arrayValue\":{\"values\":[")
            list(texts) { $0.value(.string($1)) }
            raw("]}")
        }
        raw("}")
    }

    private mutating func list<Element>(_ elements: [Element], _ write: (inout SpanJSON, Element) -> Void) {
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(0x2c) }
            write(&self, element)
        }
    }

    private mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func text(_ text: String) {
        bytes.append(0x22)
        for byte in text.utf8 {
            switch byte {
            case 0x22, 0x5c:
                bytes.append(0x5c)
                bytes.append(byte)
            case 0x00..<0x20: raw("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))")
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }
}
