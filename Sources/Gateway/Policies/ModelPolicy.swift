import Core
import Foundation

/// Which roles and users may use which models. Policies only allow: with none, everybody may use every model of every enabled
/// provider; from the first one on, a call needs one that allows it.
package struct ModelPolicy: Sendable, Equatable {
    package var id: UUID
    package var organization: OrganizationID
    package var name: String
    /// `<provider>/<model>`, where `*` stands for any run of characters.
    package var models: [String]
    /// With `users` empty too: everybody.
    package var roles: Set<Role>
    package var users: Set<UserID>

    package init(
        id: UUID = UUID(), organization: OrganizationID, name: String, models: [String], roles: Set<Role> = [],
        users: Set<UserID> = []
    ) {
        self.id = id
        self.organization = organization
        self.name = name
        self.models = models
        self.roles = roles
        self.users = users
    }

    /// What was decided, and by which rule.
    package enum Decision: Sendable, Equatable {
        case allow(rule: String)
        case deny(rule: String, reason: String)
    }

    package static let defaultRule = "default:no-policies"

    package static func decide(_ policies: [ModelPolicy], _ principal: Principal, provider: String, model: String) -> Decision {
        if policies.isEmpty { return .allow(rule: defaultRule) }
        let name = "\(provider)/\(model)"
        var coversModel = false
        for policy in policies where policy.models.contains(where: { matches($0, name) }) {
            coversModel = true
            if policy.applies(to: principal) { return .allow(rule: "policy:\(policy.name)") }
        }
        let roles = principal.roles.sorted().map(\.rawValue).joined(separator: ", ")
        return coversModel
            ? .deny(
                rule: "default:not-allowed",
                reason: "The model '\(model)' of provider '\(provider)' is not allowed for \(principal.username) (\(roles)).")
            : .deny(
                rule: "default:not-allowed", reason: "No policy allows the model '\(model)' of provider '\(provider)' to anybody.")
    }

    private func applies(to principal: Principal) -> Bool {
        if roles.isEmpty, users.isEmpty { return true }
        return users.contains(principal.user) || !roles.isDisjoint(with: principal.roles)
    }

    /// Without backtracking over more than the last star, so that no pattern makes it slow.
    static func matches(_ pattern: String, _ name: String) -> Bool {
        let pattern = Array(pattern.utf8)
        let name = Array(name.utf8)
        var p = 0
        var n = 0
        var star: (p: Int, n: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
                star = (p, n)
                p += 1
            } else if p < pattern.count, pattern[p] == name[n] {
                p += 1
                n += 1
            } else if let last = star {
                star = (last.p, last.n + 1)
                p = last.p + 1
                n = last.n + 1
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
