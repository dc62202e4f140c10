import Foundation

/// Where audit entries are sent as they are linked.
public struct AuditSink: Codable, Sendable, Equatable {
    public var name: String
    /// `https://…`, `http://…`, `syslog+tcp://host:port` or `syslog+udp://host:port`.
    public var url: String
    public var allowPrivate: Bool
    /// In a row; 0: it works.
    public var failures: Int
    public var lastError: String?
    public var deliveredAt: Date?
    public var createdAt: Date
    /// What deliveries to a webhook are signed with; only when it is added.
    public var secret: String?

    public init(
        name: String, url: String, allowPrivate: Bool, failures: Int, lastError: String? = nil, deliveredAt: Date? = nil,
        createdAt: Date, secret: String? = nil
    ) {
        self.name = name
        self.url = url
        self.allowPrivate = allowPrivate
        self.failures = failures
        self.lastError = lastError
        self.deliveredAt = deliveredAt
        self.createdAt = createdAt
        self.secret = secret
    }
}

public struct AuditSinkList: Codable, Sendable, Equatable {
    public var sinks: [AuditSink]

    public init(sinks: [AuditSink]) { self.sinks = sinks }
}

/// `POST /api/v2/audit/sinks`
public struct AddAuditSinkRequest: Codable, Sendable, Equatable {
    public var name: String
    public var url: String
    /// Also at loopback, private and link-local addresses.
    public var allowPrivate: Bool?
    /// Also what is on record already.
    public var fromStart: Bool?

    public init(name: String, url: String, allowPrivate: Bool? = nil, fromStart: Bool? = nil) {
        self.name = name
        self.url = url
        self.allowPrivate = allowPrivate
        self.fromStart = fromStart
    }
}
