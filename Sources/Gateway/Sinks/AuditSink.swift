import Core
import Foundation

/// Where audit entries are sent as they are linked.
package struct AuditSink: Sendable {
    package var id: UUID
    package var organization: OrganizationID
    package var name: String
    package var url: String
    package var allowsPrivateAddresses: Bool
    var secret: Secret<String>
    package var failures: Int
    package var lastError: String?
    package var deliveredAt: Date?
    package var createdAt: Date

    /// Of its cursors.
    var follower: String { "sink/\(id.uuidString.lowercased())" }

    enum Target: Sendable, Equatable {
        case webhook
        case syslog(host: String, port: UInt16, isTCP: Bool)
    }

    /// - Throws: `badRequest` that says which addresses there can be.
    static func target(of url: String) throws -> Target {
        let wrong = AppError(
            .badRequest,
            "url is '\(url.prefix(100))'; expected https://…, http://…, syslog+tcp://host:port or syslog+udp://host:port.",
            field: "url")
        guard url.utf8.count <= 2048, let parts = URLComponents(string: url), let host = parts.host, !host.isEmpty,
            parts.user == nil
        else {
            throw wrong
        }
        switch parts.scheme {
        case "https", "http": return .webhook
        case "syslog+tcp", "syslog+udp":
            guard let port = UInt16(exactly: parts.port ?? 514), port > 0, parts.path.isEmpty, parts.query == nil else {
                throw wrong
            }
            return .syslog(host: host, port: port, isTCP: parts.scheme == "syslog+tcp")
        default: throw wrong
        }
    }
}
