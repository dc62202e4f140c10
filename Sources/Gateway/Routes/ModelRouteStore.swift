import Core
import Postgres

struct ModelRouteStore: Sendable {
    func all(_ connection: PostgresConnection) async throws -> [ModelRoute] {
        try await connection.query("SELECT organization_id, name, targets FROM ai_model_routes ORDER BY name").map { row in
            ModelRoute(
                name: try row["name"], organization: try row["organization_id"],
                tiers: try ModelRoute.tiers(try row["targets", as: [String].self]))
        }
    }

    /// Replaces one of the same name.
    func put(_ route: ModelRoute, _ connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_model_routes (organization_id, name, targets) VALUES (\(route.organization), \(route.name), \(route.texts))
            ON CONFLICT (organization_id, name) DO UPDATE SET targets = excluded.targets, updated_at = now()
            """)
    }

    func delete(_ organization: OrganizationID, _ name: String, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute("DELETE FROM ai_model_routes WHERE organization_id = \(organization) AND name = \(name)") == 1
    }
}
