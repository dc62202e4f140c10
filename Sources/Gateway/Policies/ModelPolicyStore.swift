import Core
import Foundation
import Postgres

struct ModelPolicyStore: Sendable {
    /// All policies of all organizations, by name.
    func all(_ connection: PostgresConnection) async throws -> [ModelPolicy] {
        try await connection.query("SELECT id, organization_id, name, models, roles, user_ids FROM ai_model_policies ORDER BY name")
            .map { row in
                ModelPolicy(
                    id: try row["id"], organization: try row["organization_id"], name: try row["name"], models: try row["models"],
                    roles: Set(try row["roles", as: [String].self].compactMap(Role.init(rawValue:))),
                    users: Set(try row["user_ids", as: [UUID].self].map { UserID($0) }))
            }
    }

    func put(_ connection: PostgresConnection, _ policy: ModelPolicy) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_model_policies (id, organization_id, name, models, roles, user_ids)
            VALUES (\(policy.id), \(policy.organization), \(policy.name), \(policy.models),
                    \(policy.roles.sorted().map(\.rawValue)), \(policy.users.map(\.uuid)))
            ON CONFLICT (organization_id, name)
            DO UPDATE SET models = excluded.models, roles = excluded.roles, user_ids = excluded.user_ids
            """)
    }

    func delete(_ connection: PostgresConnection, _ organization: OrganizationID, name: String) async throws -> Bool {
        try await connection.execute(
            "DELETE FROM ai_model_policies WHERE organization_id = \(organization) AND name = \(name)") == 1
    }
}
