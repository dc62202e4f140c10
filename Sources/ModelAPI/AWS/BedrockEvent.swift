/// What a frame of `InvokeModelWithResponseStream` holds.
enum BedrockEvent: Sendable, Equatable {
    /// Anthropic's event, byte for byte.
    case event([UInt8])
    case failed(UpstreamError)
    /// A frame of a kind that is not known here.
    case other

    init(_ frame: EventStreamFrame) {
        switch frame[":message-type"] {
        case "event":
            guard frame[":event-type"] == "chunk" else {
                self = .other
                return
            }
            guard let data = Self.text("bytes", in: frame.payload), let bytes = Base64.decode(data.utf8) else {
                self = .failed(UpstreamError(type: "api_error", message: "Bedrock sent a chunk without readable bytes."))
                return
            }
            self = .event(bytes)
        case "exception":
            let type = frame[":exception-type"] ?? "exception"
            let message = Self.text("message", in: frame.payload) ?? String(decoding: frame.payload.prefix(500), as: UTF8.self)
            self = .failed(UpstreamError(type: type, message: message.isEmpty ? "Bedrock gave no reason." : message))
        case "error":
            self = .failed(
                UpstreamError(type: frame[":error-code"] ?? "error", message: frame[":error-message"] ?? "Bedrock gave no reason."))
        default: self = .other
        }
    }

    private static func text(_ field: String, in payload: [UInt8]) -> String? {
        payload.withUnsafeBytes { bytes -> String? in
            guard var fields = try? JSONNode.document(bytes).fields() else { return nil }
            return (try? fields.string(field)) ?? nil
        }
    }

    /// The `type` of an Anthropic event, which names it in a stream; only plain words are taken.
    static func name(of event: [UInt8]) -> String? {
        guard let name = text("type", in: event), name.utf8.allSatisfy({ $0 == 0x5F || (0x61...0x7A).contains($0) }) else {
            return nil
        }
        return name
    }
}
