import Core
import Postgres

struct ModelRouteStore: Sendable {
    func all(_ connection: PostgresConnection) async throws -> [ModelRoute] {
        try await connection.query(
            """
            SELECT organization_id, name, targets, hedge_after, hedge_floor_ms, hedge_samples, hedge_share
            FROM ai_model_routes ORDER BY name
            """
        ).map { row in
            ModelRoute(
                name: try row["name"], organization: try row["organization_id"],
                tiers: try ModelRoute.tiers(try row["targets", as: [String].self]),
                hedge: try row["hedge_after", as: String?.self].map {
                    try HedgeRule(
                        after: $0, floorMilliseconds: try row["hedge_floor_ms"], samples: try row["hedge_samples"],
                        sharePercent: try row["hedge_share"])
                })
        }
    }

    /// Replaces one of the same name.
    func put(_ route: ModelRoute, _ connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_model_routes
                (organization_id, name, targets, hedge_after, hedge_floor_ms, hedge_samples, hedge_share)
            VALUES (\(route.organization), \(route.name), \(route.texts), \(route.hedge?.after.text),
                    \(route.hedge.map { Int($0.floor.milliseconds) }), \(route.hedge?.samples), \(route.hedge?.share))
            ON CONFLICT (organization_id, name) DO UPDATE
            SET targets = excluded.targets, hedge_after = excluded.hedge_after, hedge_floor_ms = excluded.hedge_floor_ms,
                hedge_samples = excluded.hedge_samples, hedge_share = excluded.hedge_share, updated_at = now()
            """)
    }

    func delete(_ organization: OrganizationID, _ name: String, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute("DELETE FROM ai_model_routes WHERE organization_id = \(organization) AND name = \(name)") == 1
    }
}
