import Core
import Foundation

/// A server of tools that speaks the Model Context Protocol, over streamable HTTP or as a program.
package struct ToolServer: Sendable, Equatable {
    package var id: UUID
    package var organization: OrganizationID
    package var name: String
    package var displayName: String
    package var url: String
    package var isEnabled: Bool
    package var allowsPrivateAddresses: Bool
    package var auth: Auth
    package var rules: ToolRules
    package var timeout: Duration
    /// As which client Slipway is known at the authorization server; nil: it registers itself.
    package var oauthClientID: String?
    /// Sent with every request; never shown.
    package var headers: [Header]
    package var updatedAt: Date
    package var injection = Injection.never
    /// Of a server that is a program: it and its arguments. Its `headers` are its environment. Empty: it is at its URL.
    package var command: [String] = []

    package var isProgram: Bool { !command.isEmpty }
    /// What stands for the URL of a program.
    static let programURL = "stdio:"

    /// Whether its tools are put into model calls, where the gateway runs them.
    package enum Injection: String, Sendable, CaseIterable {
        case never
        /// When a client asks by the header `x-slipway-tools`.
        case asked
        /// Unless a client says no by that header.
        case always
    }

    package enum Auth: String, Sendable, CaseIterable {
        /// The headers of the server are all it needs.
        case none
        /// Each user signs in with headers of their own.
        case user
        /// Each user authorizes Slipway.
        case oauth
    }

    package struct Header: Sendable, Equatable, Codable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// With the headers of one user, which take the place of the server's own of the same name.
    func headers(with user: [Header]) -> [Header] {
        let names = Set(user.map { $0.name.lowercased() })
        return headers.filter { !names.contains($0.name.lowercased()) } + user
    }
}

/// Which tools of a server may be called, by name. A pure value.
package struct ToolRules: Sendable, Equatable {
    /// Patterns, where `*` stands for any run of characters. Empty: all.
    package var allow: [String]
    /// Wins over `allow`.
    package var deny: [String]

    package init(allow: [String] = [], deny: [String] = []) {
        self.allow = allow
        self.deny = deny
    }

    package func decide(server: String, tool: String) -> ToolDecision {
        if let pattern = deny.first(where: { ToolPattern.matches($0, tool) }) {
            return .deny(
                rule: "mcp:\(server):deny:\(pattern)",
                reason: "The tool '\(tool)' of '\(server)' is denied to everybody (\(pattern)).")
        }
        if allow.isEmpty { return .allow(rule: "mcp:\(server):all") }
        if let pattern = allow.first(where: { ToolPattern.matches($0, tool) }) {
            return .allow(rule: "mcp:\(server):allow:\(pattern)")
        }
        return .deny(
            rule: "mcp:\(server):not-allowed", reason: "The tool '\(tool)' of '\(server)' is not among those that are allowed.")
    }
}

/// What was decided about a call of a tool, and by which rule.
package enum ToolDecision: Sendable, Equatable {
    case allow(rule: String)
    case deny(rule: String, reason: String)
    /// Somebody has to say yes first.
    case approval(rule: String, reason: String)

    package var rule: String {
        switch self {
        case .allow(let rule), .deny(let rule, _), .approval(let rule, _): rule
        }
    }

    package var isAllowed: Bool { if case .allow = self { true } else { false } }

    var name: String {
        switch self {
        case .allow: "allow"
        case .deny: "deny"
        case .approval: "approval"
        }
    }
}
