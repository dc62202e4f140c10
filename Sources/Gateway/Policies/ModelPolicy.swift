import Core
import Foundation
import Policies

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

    /// What all of them together are called where rules are named: `model-policies/<name>`.
    package static let objectName = "model-policies"
    /// Behind what admins write as code, unless they say otherwise.
    package static let order = 1000

    /// The model policies of an organization as an object of the one engine; nil when there are none.
    static func object(_ policies: [ModelPolicy]) -> PolicyObject? {
        if policies.isEmpty { return nil }
        let rules = policies.map { policy in
            var rule = PolicyRule(id: policy.name, effect: .allow)
            rule.resources.models = PatternList(policy.models)
            rule.subjects.roles = policy.roles
            rule.subjects.users = PatternList(policy.users.map(\.description).sorted())
            return rule
        }
        return PolicyObject(name: objectName, order: order, calls: .deny, rules: rules)
    }
}
