import Foundation

public struct User: Codable, Sendable, Equatable {
    public var id: String
    public var organizationID: String
    public var username: String
    public var email: String?
    /// `owner`, `admin`, `auditor`, `member`.
    public var roles: [String]
    /// `active` or `suspended`.
    public var status: String
    public var createdAt: Date
    public var lastSeenAt: Date?

    public init(
        id: String, organizationID: String, username: String, email: String?, roles: [String], status: String, createdAt: Date,
        lastSeenAt: Date?
    ) {
        self.id = id
        self.organizationID = organizationID
        self.username = username
        self.email = email
        self.roles = roles
        self.status = status
        self.createdAt = createdAt
        self.lastSeenAt = lastSeenAt
    }
}

public struct UserList: Codable, Sendable {
    public var users: [User]
    /// Where the next part begins; absent at the end.
    public var after: String?

    public init(users: [User], after: String?) {
        self.users = users
        self.after = after
    }
}

/// `POST /api/v2/users/first`: makes the owner of a server that has no user yet.
public struct CreateFirstUserRequest: Codable, Sendable {
    /// The one-time code that the server printed when it was started.
    public var setupCode: String
    public var username: String
    public var email: String?
    public var password: String
    /// When given, the answer holds an API token of this name instead of a cookie.
    public var tokenName: String?

    public init(setupCode: String, username: String, email: String?, password: String, tokenName: String?) {
        self.setupCode = setupCode
        self.username = username
        self.email = email
        self.password = password
        self.tokenName = tokenName
    }
}

/// `GET /api/v2/users/first`: whether somebody has been made already.
public struct FirstUserState: Codable, Sendable {
    public var exists: Bool
    public init(exists: Bool) { self.exists = exists }
}

/// `POST /api/v2/users/login`.
public struct LoginRequest: Codable, Sendable {
    public var username: String
    public var password: String
    /// When given, the answer holds an API token of this name instead of a cookie.
    public var tokenName: String?

    public init(username: String, password: String, tokenName: String?) {
        self.username = username
        self.password = password
        self.tokenName = tokenName
    }
}

public struct LoginResponse: Codable, Sendable {
    public var user: User
    /// Only when a token was asked for; it is not shown again.
    public var token: String?
    public var tokenExpiresAt: Date?

    public init(user: User, token: String?, tokenExpiresAt: Date?) {
        self.user = user
        self.token = token
        self.tokenExpiresAt = tokenExpiresAt
    }
}

public struct CreateUserRequest: Codable, Sendable {
    public var username: String
    public var email: String?
    public var password: String
    /// Default: `member`.
    public var roles: [String]?

    public init(username: String, email: String?, password: String, roles: [String]?) {
        self.username = username
        self.email = email
        self.password = password
        self.roles = roles
    }
}

/// `PUT /api/v2/users/{user}/password`.
public struct ChangePasswordRequest: Codable, Sendable {
    /// Needed when one changes one's own.
    public var oldPassword: String?
    public var password: String

    public init(oldPassword: String?, password: String) {
        self.oldPassword = oldPassword
        self.password = password
    }
}

/// `PUT /api/v2/users/{user}/roles`.
public struct ChangeRolesRequest: Codable, Sendable {
    public var roles: [String]
    public init(roles: [String]) { self.roles = roles }
}
