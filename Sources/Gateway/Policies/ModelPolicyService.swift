import Core
import Postgres

/// Creates, replaces and lists model policies; in force everywhere within two seconds.
package struct ModelPolicyService: Sendable {
    let store: ModelPolicyStore
    let settings: SettingsCache
    let facts: AuditFacts

    /// What all model policies together are called where rules are named.
    package static let objectName = ModelPolicy.objectName

    /// Creates the policy of this name or replaces it.
    package func put(_ principal: Principal, name: String, models: [String], roles: Set<Role>, users: Set<UserID>) async throws {
        try ProviderRules.check(name: name, longest: 64)
        guard (1...100).contains(models.count) else {
            throw AppError(.badRequest, "models has \(models.count) patterns; expected 1 to 100.", field: "models")
        }
        for (index, pattern) in models.enumerated() {
            guard pattern.contains("/") || pattern == "*", (1...300).contains(pattern.utf8.count) else {
                throw AppError(
                    .badRequest,
                    "models[\(index)] is '\(pattern)'; expected '<provider>/<model>', with * for any characters, e.g. 'anthropic/*'.",
                    field: "models[\(index)]")
            }
        }
        guard users.count <= 1000 else {
            throw AppError(.badRequest, "users has \(users.count) entries; at most 1000.", field: "users")
        }
        let policy = ModelPolicy(organization: principal.organization, name: name, models: models, roles: roles, users: users)
        try await facts.record { connection in
            try await store.put(connection, policy)
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "policy.put", subject: name,
                [
                    "models": models.joined(separator: " "), "roles": roles.sorted().map(\.rawValue).joined(separator: " "),
                    "users": users.map(\.description).sorted().joined(separator: " "),
                ])
            return ((), [fact])
        }
        try await settings.refresh()
    }

    package func delete(_ principal: Principal, name: String) async throws {
        try await facts.record { connection in
            guard try await store.delete(connection, principal.organization, name: name) else {
                throw AppError(.notFound, "There is no model policy named '\(name)'.", field: "name")
            }
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "policy.delete", subject: name, [:])
            return ((), [fact])
        }
        try await settings.refresh()
    }

    package func list(_ principal: Principal) throws -> [ModelPolicy] {
        try settings.current().policies.models[principal.organization] ?? []
    }
}
