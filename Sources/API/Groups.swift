import Foundation

/// People under one name, for policies and budgets. A group gives no rights by itself.
public struct Group: Codable, Sendable, Equatable {
    public var id: String
    public var name: String
    /// User names, sorted.
    public var members: [String]
    public var createdAt: Date

    public init(id: String, name: String, members: [String], createdAt: Date) {
        self.id = id
        self.name = name
        self.members = members
        self.createdAt = createdAt
    }
}

/// `GET /api/v2/groups`.
public struct GroupList: Codable, Sendable, Equatable {
    public var groups: [Group]

    public init(groups: [Group]) { self.groups = groups }
}

/// `POST /api/v2/groups`.
public struct CreateGroupRequest: Codable, Sendable, Equatable {
    public var name: String

    public init(name: String) { self.name = name }
}
