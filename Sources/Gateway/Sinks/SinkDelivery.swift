import AuditProof
import Core
import Foundation
import HTTPTransport

/// Brings lines to a sink.
struct SinkDelivery: Sendable {
    let transport: HTTPTransport

    /// In order; all of them or, for who is told that it failed, perhaps some.
    func deliver(_ entries: [(link: AuditLink, line: String)], to sink: AuditSink) async throws {
        switch try AuditSink.target(of: sink.url) {
        case .webhook: try await post(entries.map(\.line).joined(), to: sink)
        case .syslog(let host, let port, let isTCP):
            let name = ProcessInfo.processInfo.hostName
            let messages = entries.map { SyslogMessage.text($0.link, line: String($0.line.dropLast()), host: name) }
            try await SyslogSender(host: host, port: port, isTCP: isTCP, allowsPrivateAddresses: sink.allowsPrivateAddresses).send(
                messages)
        }
    }

    func test(_ sink: AuditSink) async throws {
        let line = "{\"type\":\"test\"}\n"
        let nobody = AuditLink(
            chain: UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), n: 0, prev: AuditLink.origin,
            digest: AuditLink.origin,
            kind: "test", subject: "", at: Int64(Date().timeIntervalSince1970 * 1_000_000))
        try await deliver([(nobody, line)], to: sink)
    }

    private func post(_ body: String, to sink: AuditSink) async throws {
        let response = try await transport.send(WebhookRequest.make(sink, body: body, time: Int64(Date().timeIntervalSince1970)))
        response.body.cancel()
        guard (200..<300).contains(response.status) else {
            throw AppError(
                .unavailable, "The webhook of the sink '\(sink.name)' answered \(response.status).", retry: .after(.seconds(1)))
        }
    }
}
