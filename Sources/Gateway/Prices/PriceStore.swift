import Core
import Foundation
import ModelAPI
import Postgres

struct PriceStore: Sendable {
    let pool: PostgresPool

    /// Puts the prices of the book on record, so that ledger rows can name them.
    func register(_ prices: [ModelPrice]) async throws {
        try await pool.withTransaction { try await insert(prices, organization: nil, $0) }
    }

    /// Writes what a placement says, in a transaction of the caller's.
    func write(_ placement: PricePlacement, organization: OrganizationID, _ connection: PostgresConnection) async throws {
        try await insert(placement.added, organization: organization, connection)
        let added = placement.added.map(\.id)
        for id in placement.withdrawn.map(\.id) where !added.contains(id) {
            try await connection.execute(
                """
                INSERT INTO ai_price_withdrawals (price_id, organization_id) VALUES (\(id), \(organization)) ON CONFLICT DO NOTHING
                """)
        }
        // The same price in the same interval may come back.
        try await connection.execute("DELETE FROM ai_price_withdrawals WHERE price_id = ANY(\(added))")
    }

    /// All custom prices of all organizations, in one order for all servers: of two that begin at the same instant the later counts.
    func custom(_ connection: PostgresConnection) async throws -> [(OrganizationID, ModelPrice)] {
        try await connection.query(
            """
            SELECT id, organization_id, provider_type, model, valid_from, valid_to, price FROM ai_prices p
            WHERE organization_id IS NOT NULL AND NOT EXISTS (SELECT FROM ai_price_withdrawals w WHERE w.price_id = p.id)
            ORDER BY created_at, valid_from, id
            """
        ).map { row in
            guard let type = ProviderType(rawValue: try row["provider_type", as: String.self]) else {
                throw AppError(.internal, "A stored price has an unknown provider type.")
            }
            let organization = try row["organization_id", as: OrganizationID.self]
            let price = try ModelPrice(
                providerType: type, model: row["model"], validFrom: row["valid_from"], validTo: row["valid_to"],
                organization: organization, body: row["price", as: JSON<ModelPrice.Body>.self].value)
            return (organization, price)
        }
    }

    private func insert(_ prices: [ModelPrice], organization: OrganizationID?, _ connection: PostgresConnection) async throws {
        // One statement for each: the book is small, and this runs at start and when an admin changes it.
        let known = Set(
            try await connection.query("SELECT id FROM ai_prices WHERE id = ANY(\(prices.map(\.id)))").map {
                try $0["id", as: String.self]
            })
        for price in prices where !known.contains(price.id) {
            try await connection.execute(
                """
                INSERT INTO ai_prices (id, organization_id, provider_type, model, valid_from, valid_to, price)
                VALUES (\(price.id), \(organization), \(price.providerType.rawValue), \(price.model), \(price.validFrom),
                        \(price.validTo), \(JSON(price.body)))
                ON CONFLICT DO NOTHING
                """)
        }
    }
}
