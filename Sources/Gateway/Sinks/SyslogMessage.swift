import AuditProof
import Foundation

/// An entry as RFC 5424 has it: facility 13 (log audit), severity 6 (informational), the entry as a line of an export behind the header.
enum SyslogMessage {
    /// - Parameter host: this machine's name.
    static func text(_ link: AuditLink, line: String, host: String) -> String {
        let time = Date(timeIntervalSince1970: Double(link.at) / 1_000_000).formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let name = host.filter { $0.isASCII && ("!"..."~").contains($0) }.prefix(255)
        return "<110>1 \(time) \(name.isEmpty ? "-" : String(name)) slipway - \(link.kind.prefix(32)) - \(line)"
    }

    /// With its length in front, so that it may hold line ends (RFC 6587, 3.4.1).
    static func framed(_ text: String) -> String { "\(text.utf8.count) \(text)" }
}
