import Foundation

/// An API token as it is listed: never the token itself.
public struct Token: Codable, Sendable, Equatable {
    public var id: String
    public var userID: String
    public var username: String
    public var name: String
    /// The first characters, by which its owner recognises it.
    public var hint: String
    /// `all`, `gateway` (model calls only) or `read`.
    public var scope: String
    public var createdAt: Date
    public var expiresAt: Date?
    public var revokedAt: Date?
    public var lastUsedAt: Date?

    public init(
        id: String, userID: String, username: String, name: String, hint: String, scope: String, createdAt: Date, expiresAt: Date?,
        revokedAt: Date?, lastUsedAt: Date?
    ) {
        self.id = id
        self.userID = userID
        self.username = username
        self.name = name
        self.hint = hint
        self.scope = scope
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.lastUsedAt = lastUsedAt
    }
}

public struct TokenList: Codable, Sendable {
    public var tokens: [Token]
    public var after: String?

    public init(tokens: [Token], after: String?) {
        self.tokens = tokens
        self.after = after
    }
}

/// `POST /api/v2/tokens`.
public struct CreateTokenRequest: Codable, Sendable {
    public var name: String
    /// Default: `all`.
    public var scope: String?
    /// Default: 30 days; 0: does not expire; at most 366 days.
    public var lifetimeSeconds: Int?

    public init(name: String, scope: String?, lifetimeSeconds: Int?) {
        self.name = name
        self.scope = scope
        self.lifetimeSeconds = lifetimeSeconds
    }
}

public struct CreateTokenResponse: Codable, Sendable {
    /// The token, shown this once.
    public var key: String
    public var token: Token

    public init(key: String, token: Token) {
        self.key = key
        self.token = token
    }
}
