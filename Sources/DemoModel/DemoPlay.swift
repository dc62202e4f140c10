import HTTPTypes
import Hummingbird
import NIOCore
import ServiceLifecycle

/// Sends one answer, at its pace and with its fault.
struct DemoPlay: Sendable {
    let answer: DemoAnswer
    let kind: DemoProtocol
    let speed: Double

    /// The connection is closed in the middle: what Hummingbird does when a body fails.
    private struct Cut: Error {}

    static func headers(contentType: String, id: String) -> HTTPFields {
        [
            .contentType: contentType, HTTPField.Name("x-slipway-scripted")!: "true",
            HTTPField.Name("request-id")!: "req_demo_\(id)", HTTPField.Name("x-request-id")!: "req_demo_\(id)",
        ]
    }

    func streamed() -> Response {
        let frames = kind == .messages ? MessagesAnswer.frames(answer) : ChatAnswer.frames(answer)
        return response("text/event-stream; charset=utf-8") { writer in
            try await pause(milliseconds: answer.pace.firstMilliseconds)
            for (index, frame) in frames.enumerated() {
                if let fault = answer.fault, index == fault.after, try await play(fault, &writer) { return }
                if frame.isPaced { try await pause(milliseconds: answer.pace.everyMilliseconds) }
                try await writer.write(ByteBuffer(string: frame.text))
            }
        }
    }

    func whole() -> Response {
        let text = kind == .messages ? MessagesAnswer.whole(answer) : ChatAnswer.whole(answer)
        let body = ByteBuffer(string: text)
        return response("application/json", length: body.readableBytes) { writer in
            try await pause(milliseconds: answer.pace.firstMilliseconds)
            switch answer.fault?.kind {
            case .stall: try await Self.hang()
            case .cut, .streamError:
                try await writer.write(body.getSlice(at: 0, length: body.readableBytes / 2)!)
                throw Cut()
            case .status, .silence, nil: try await writer.write(body)
            }
        }
    }

    /// Returns whether the answer has ended with it.
    private func play(_ fault: Fault, _ writer: inout any ResponseBodyWriter) async throws -> Bool {
        switch fault.kind {
        case .status, .silence: return false
        case .stall: try await Self.hang()
        case .cut: throw Cut()
        case .streamError:
            let error = RequestError(fault)
            let frame = kind == .messages ? MessagesAnswer.errorFrame(error) : ChatAnswer.errorFrame(error)
            try await writer.write(ByteBuffer(string: frame.text))
        }
        return true
    }

    private func pause(milliseconds: Int) async throws {
        guard speed > 0, milliseconds > 0 else { return }
        try await Task.sleep(for: .milliseconds(milliseconds) / speed)
    }

    /// Says nothing more for ten minutes, longer than any client waits, or until the server is shut down.
    static func hang() async throws {
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(600)) }
    }

    private func response(
        _ contentType: String, length: Int? = nil,
        _ write: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
    ) -> Response {
        let body = ResponseBody(contentLength: length) { writer in
            try await write(&writer)
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: Self.headers(contentType: contentType, id: answer.id), body: body)
    }
}
