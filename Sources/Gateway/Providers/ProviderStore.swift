import Core
import Postgres

struct ProviderStore: Sendable {
    let keys: KeyRing

    /// Where a provider's key lies, for the key ring.
    static func place(_ id: String) -> KeyRing.Place { KeyRing.Place(table: "ai_provider_keys", column: "sealed", row: id) }

    private static let columns = "id, organization_id, name, display_name, type, base_url, enabled, allow_private, settings"

    /// All providers of all organizations with their keys opened.
    func all(_ connection: PostgresConnection) async throws -> [Provider] {
        let results = try await connection.pipeline([
            "SELECT \(unsafeSQL: Self.columns) FROM ai_providers ORDER BY name",
            "SELECT id, provider_id, sealed, hint FROM ai_provider_keys ORDER BY provider_id, position",
        ])
        let keysOf = try opened(results[1])
        return try results[0].map { try Self.provider($0, keysOf) }
    }

    /// The provider as it is now; nobody changes it before the transaction ends.
    func locked(_ organization: OrganizationID, name: String, _ connection: PostgresConnection) async throws -> Provider? {
        let rows = try await connection.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM ai_providers
            WHERE organization_id = \(organization) AND name = \(name) FOR UPDATE
            """)
        guard let row = rows.first else { return nil }
        let keys = try await connection.query(
            """
            SELECT id, provider_id, sealed, hint FROM ai_provider_keys
            WHERE provider_id = \(try row["id", as: ProviderID.self]) ORDER BY position
            """)
        return try Self.provider(row, try opened(keys))
    }

    private func opened(_ rows: [Row]) throws -> [ProviderID: [Provider.Key]] {
        var keysOf: [ProviderID: [Provider.Key]] = [:]
        for row in rows {
            let id = try row["id", as: ProviderID.self]
            let plain = try keys.open(row["sealed"], at: Self.place(id.description))
            keysOf[try row["provider_id"], default: []].append(
                Provider.Key(secret: Secret(String(decoding: plain, as: UTF8.self)), hint: try row["hint"]))
        }
        return keysOf
    }

    private static func provider(_ row: Row, _ keysOf: [ProviderID: [Provider.Key]]) throws -> Provider {
        let id = try row["id", as: ProviderID.self]
        guard let type = ProviderType(rawValue: try row["type"]) else {
            throw AppError(.internal, "The stored provider \(id) has an unknown type.")
        }
        return Provider(
            id: id, organization: try row["organization_id"], name: try row["name"], displayName: try row["display_name"],
            type: type,
            baseURL: try row["base_url"], isEnabled: try row["enabled"], allowsPrivateAddresses: try row["allow_private"],
            origin: .database, keys: keysOf[id] ?? [], settings: try row["settings", as: JSON<CallSettings>.self].value)
    }

    func insert(_ provider: Provider, _ connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_providers (id, organization_id, name, display_name, type, base_url, enabled, allow_private, settings)
            VALUES (\(provider.id), \(provider.organization), \(provider.name), \(provider.displayName), \(provider.type.rawValue),
                    \(provider.baseURL), \(provider.isEnabled), \(provider.allowsPrivateAddresses),
                    \(JSON(provider.settings)))
            """)
        try await replaceKeys(provider, connection)
    }

    /// - Parameter replacesKeys: false leaves the stored keys as they are.
    /// - Returns: false when the provider is not there.
    func update(_ provider: Provider, replacesKeys: Bool, _ connection: PostgresConnection) async throws -> Bool {
        let count = try await connection.execute(
            """
            UPDATE ai_providers SET display_name = \(provider.displayName), base_url = \(provider.baseURL),
                   enabled = \(provider.isEnabled), allow_private = \(provider.allowsPrivateAddresses),
                   settings = \(JSON(provider.settings)), updated_at = now()
            WHERE organization_id = \(provider.organization) AND id = \(provider.id)
            """)
        if count == 1, replacesKeys { try await replaceKeys(provider, connection) }
        return count == 1
    }

    /// - Returns: false when the provider is not there.
    func delete(_ provider: Provider, _ connection: PostgresConnection) async throws -> Bool {
        try await connection.execute(
            "DELETE FROM ai_providers WHERE organization_id = \(provider.organization) AND id = \(provider.id)") == 1
    }

    private func replaceKeys(_ provider: Provider, _ connection: PostgresConnection) async throws {
        try await connection.execute("DELETE FROM ai_provider_keys WHERE provider_id = \(provider.id)")
        for (index, key) in provider.keys.enumerated() {
            let id = ProviderID()
            let sealed = try keys.seal(Array(key.secret.reveal().utf8), at: Self.place(id.description))
            try await connection.execute(
                """
                INSERT INTO ai_provider_keys (id, organization_id, provider_id, position, sealed, hint)
                VALUES (\(id), \(provider.organization), \(provider.id), \(index + 1), \(sealed), \(key.hint))
                """)
        }
    }
}
