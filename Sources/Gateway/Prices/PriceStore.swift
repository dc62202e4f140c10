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

    func add(_ price: ModelPrice, organization: OrganizationID, _ connection: PostgresConnection) async throws {
        try await insert([price], organization: organization, connection)
    }

    /// All custom prices of all organizations.
    func custom(_ connection: PostgresConnection) async throws -> [(OrganizationID, ModelPrice)] {
        try await connection.query(
            """
            SELECT id, organization_id, provider_type, model, valid_from, valid_to, price FROM ai_prices
            WHERE organization_id IS NOT NULL ORDER BY created_at
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

    /// One statement for each: the book is small, and is registered once at start.
    private func insert(_ prices: [ModelPrice], organization: OrganizationID?, _ connection: PostgresConnection) async throws {
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
