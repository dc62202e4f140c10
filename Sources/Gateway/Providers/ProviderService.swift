import Core
import Postgres

/// Creates, changes and lists providers. Keys go in and never come out.
package struct ProviderService: Sendable {
    let store: ProviderStore
    let settings: SettingsCache
    let facts: AuditFacts

    package struct Change: Sendable {
        package var displayName: String?
        package var baseURL: String?
        /// All keys, in order, at most 5; nil leaves them.
        package var keys: [Secret<String>]?
        package var isEnabled: Bool?
        package var allowsPrivateAddresses: Bool?
        /// Replaces all of them.
        package var settings: CallSettings?

        package init(
            displayName: String? = nil, baseURL: String? = nil, keys: [Secret<String>]? = nil, isEnabled: Bool? = nil,
            allowsPrivateAddresses: Bool? = nil, settings: CallSettings? = nil
        ) {
            self.displayName = displayName
            self.baseURL = baseURL
            self.keys = keys
            self.isEnabled = isEnabled
            self.allowsPrivateAddresses = allowsPrivateAddresses
            self.settings = settings
        }
    }

    /// - Throws: `badRequest`, `conflict` when the name is taken.
    package func create(_ principal: Principal, name: String, type: ProviderType, _ change: Change) async throws -> Provider {
        try ProviderRules.check(name: name)
        guard name != ModelRoute.path else {
            throw AppError(
                .badRequest, "The name '\(name)' is taken: under it calls are routed by model. Choose another.", field: "name")
        }
        guard !Self.taken.contains(name) else {
            throw AppError(
                .badRequest,
                "The name '\(name)' is taken: the API has a list of its own at /api/v2/ai-gateway/\(name). Choose another.",
                field: "name")
        }
        guard let baseURL = change.baseURL ?? type.usualURL else {
            throw AppError(.badRequest, "base_url is missing.", field: "base_url")
        }
        if try settings.current().provider(named: name, organization: principal.organization) != nil {
            throw AppError(.conflict, "There is a provider named '\(name)' already.", field: "name")
        }
        var provider = Provider(
            id: ProviderID(), organization: principal.organization, name: name, displayName: name, type: type, baseURL: baseURL,
            isEnabled: true, allowsPrivateAddresses: false, origin: .database, keys: [])
        try Self.apply(change, to: &provider)
        do {
            try await facts.record { [provider] connection in
                try await store.insert(provider, connection)
                return ((), [try Self.fact(principal, "provider.create", provider)])
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw AppError(.conflict, "There is a provider named '\(name)' already.", field: "name")
        }
        try await settings.refresh()
        return provider
    }

    /// What stands beside the providers in the API.
    static let taken: Set<String> = ["interceptions", "sessions", "usage", "spend"]

    package func update(_ principal: Principal, name: String, _ change: Change) async throws -> Provider {
        guard try get(principal, name: name).origin == .database else {
            throw AppError(
                .conflict, "The provider '\(name)' comes from the environment the server was started with: change it there.")
        }
        // Read where it is written: what another admin changes at the same time stays.
        let provider = try await facts.record { connection in
            guard let before = try await store.locked(principal.organization, name: name, connection) else {
                throw Self.missing(name)
            }
            var provider = before
            try Self.apply(change, to: &provider)
            // What was given for one host is not for another one.
            guard change.keys != nil || before.keys.isEmpty || Self.origin(provider.baseURL) == Self.origin(before.baseURL) else {
                throw AppError(
                    .badRequest,
                    "base_url is one of another host than the stored keys were given for: send the keys again with a new host.",
                    field: "keys")
            }
            guard try await store.update(provider, replacesKeys: change.keys != nil || before.keys.isEmpty, connection)
            else { throw Self.missing(name) }
            return (provider, [try Self.fact(principal, "provider.update", provider)])
        }
        try await settings.refresh()
        return provider
    }

    /// Scheme, host and port; of what is answered in this process, that alone.
    private static func origin(_ url: String) -> String {
        ReplayAddress.isReplay(url) ? "replay" : ToolServerCheck.origin(of: url)
    }

    package func delete(_ principal: Principal, name: String) async throws {
        let provider = try get(principal, name: name)
        guard provider.origin == .database else {
            throw AppError(
                .conflict, "The provider '\(name)' comes from the environment the server was started with: remove it there.")
        }
        try await facts.record { connection in
            guard try await store.delete(provider, connection) else { throw Self.missing(name) }
            return ((), [try Self.fact(principal, "provider.delete", provider)])
        }
        try await settings.refresh()
    }

    package func get(_ principal: Principal, name: String) throws -> Provider {
        guard let provider = try settings.current().provider(named: name, organization: principal.organization) else {
            throw Self.missing(name)
        }
        return provider
    }

    package func list(_ principal: Principal) throws -> [Provider] {
        try settings.current().providers(of: principal.organization)
    }

    private static func apply(_ change: Change, to provider: inout Provider) throws {
        if let name = change.displayName {
            guard name.utf8.count <= 128 else {
                throw AppError(.badRequest, "display_name has \(name.utf8.count) bytes; at most 128.", field: "display_name")
            }
            provider.displayName = name
        }
        if let url = change.baseURL { provider.baseURL = url }
        if ReplayAddress.isReplay(provider.baseURL) {
            provider.baseURL = try ReplayAddress(provider.baseURL).stored(for: provider.organization)
            // Calls need one, and nobody looks at it.
            if provider.keys.isEmpty, change.keys == nil { provider.keys = [.init(secret: Secret("replay"), hint: "replay")] }
        } else {
            try ProviderRules.check(baseURL: provider.baseURL, field: "base_url")
        }
        if let isEnabled = change.isEnabled { provider.isEnabled = isEnabled }
        if let allows = change.allowsPrivateAddresses { provider.allowsPrivateAddresses = allows }
        if let settings = change.settings {
            try settings.check()
            if let wrong = settings.protocols?.first(where: { !provider.type.protocols.contains($0) }) {
                throw AppError(
                    .badRequest,
                    "settings.protocols names \(wrong.rawValue), which providers of type \(provider.type.rawValue) do not speak; they speak \(provider.type.protocols.map(\.rawValue).joined(separator: ", ")).",
                    field: "settings.protocols")
            }
            provider.settings = settings
        }
        if let keys = change.keys {
            guard keys.count <= 5 else { throw AppError(.badRequest, "There are \(keys.count) keys; at most 5.", field: "keys") }
            for key in keys { try ProviderRules.check(key: key, field: "keys") }
            provider.keys = keys.map { Provider.Key(secret: $0, hint: $0.hint) }
        }
    }

    /// What the provider is then.
    private static func fact(_ principal: Principal, _ kind: String, _ provider: Provider) throws -> AuditFacts.Fact {
        try AuditFacts.Fact(
            principal, kind: kind, subject: provider.name,
            [
                "type": provider.type.rawValue, "base_url": provider.baseURL, "enabled": "\(provider.isEnabled)",
                "allow_private": "\(provider.allowsPrivateAddresses)", "keys": provider.keys.map(\.hint).joined(separator: " "),
                "settings": provider.settings.text,
            ])
    }

    private static func missing(_ name: String) -> AppError {
        AppError(.notFound, "There is no provider named '\(name)'; 'slipway providers list' shows them.", field: "provider")
    }
}
