/// Who makes a call, and for whom: every store takes it (or its scope) as the first argument.
package struct Principal: Sendable, Hashable {
    package var organization: OrganizationID
    package var user: UserID
    package var username: String
    package var roles: Set<Role>
    /// The API token that was used; nil for a browser session or a call from inside.
    package var token: TokenID?
    /// What the credential is good for; a session in the browser has `.all`.
    package var scope: TokenScope
    /// Set when an agent acts for the user: the task it acts in.
    package var task: TaskID?

    package init(
        organization: OrganizationID, user: UserID, username: String, roles: Set<Role>, token: TokenID? = nil,
        scope: TokenScope = .all, task: TaskID? = nil
    ) {
        self.organization = organization
        self.user = user
        self.username = username
        self.roles = roles
        self.token = token
        self.scope = scope
        self.task = task
    }
}

package enum Role: String, Sendable, Codable, CaseIterable, Comparable {
    case owner, admin, auditor, member

    package static func < (a: Role, b: Role) -> Bool { a.rawValue < b.rawValue }
}

/// What a token may be used for.
package enum TokenScope: String, Sendable, Codable, CaseIterable {
    /// Everything its user may do.
    case all
    /// Model calls through the gateway, nothing else.
    case gateway
    /// Read-only calls of the API.
    case read
}

extension OrganizationID {
    /// The organization that the first migration makes.
    package static let `default` = OrganizationID("00000000-0000-7000-8000-000000000001")!
}
