import Foundation

/// `/api/v2/audit/rules`: what is kept of calls, and for how long.
public struct AuditRules: Codable, Sendable, Equatable {
    /// `full`, `hashed` or `none`.
    public var contentMode: String
    /// Absent: for ever.
    public var contentDays: Int?
    public var recordDays: Int?

    public init(contentMode: String, contentDays: Int? = nil, recordDays: Int? = nil) {
        self.contentMode = contentMode
        self.contentDays = contentDays
        self.recordDays = recordDays
    }
}

/// `PUT /api/v2/audit/rules/content-mode`
public struct SetContentModeRequest: Codable, Sendable, Equatable {
    public var contentMode: String

    public init(contentMode: String) { self.contentMode = contentMode }
}

/// `PUT /api/v2/audit/rules/retention`; what is absent is kept for ever.
public struct SetRetentionRequest: Codable, Sendable, Equatable {
    public var contentDays: Int?
    public var recordDays: Int?

    public init(contentDays: Int? = nil, recordDays: Int? = nil) {
        self.contentDays = contentDays
        self.recordDays = recordDays
    }
}

/// Keeps calls from being removed.
public struct AuditHold: Codable, Sendable, Equatable {
    public var id: String
    /// `user`, `session` or `task`.
    public var kind: String
    /// An id.
    public var subject: String
    public var name: String
    public var reason: String
    public var createdByID: String
    public var createdAt: Date

    public init(id: String, kind: String, subject: String, name: String, reason: String, createdByID: String, createdAt: Date) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.name = name
        self.reason = reason
        self.createdByID = createdByID
        self.createdAt = createdAt
    }
}

public struct AuditHoldList: Codable, Sendable, Equatable {
    public var holds: [AuditHold]

    public init(holds: [AuditHold]) { self.holds = holds }
}

/// `POST /api/v2/audit/holds`
public struct AddAuditHoldRequest: Codable, Sendable, Equatable {
    /// `user` (by name or id), `session` or `task` (by id).
    public var kind: String
    public var subject: String
    public var reason: String

    public init(kind: String, subject: String, reason: String) {
        self.kind = kind
        self.subject = subject
        self.reason = reason
    }
}
